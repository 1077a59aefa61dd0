"""Gates: what must hold before data may take the next step, and what was found."""
