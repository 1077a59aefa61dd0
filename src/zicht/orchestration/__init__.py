"""What runs when: Apache Airflow around the platform's functions. Only this package imports it."""
