-- Hospitality: establishments per 10,000 inhabitants.
-- Of entities not dissolved on the last day of the quarter; inhabitants of all ages on 1 January of the year.
{{ per_inhabitants('cube_rechtspersonen__sectors', 'n_hospitality', per=10000) }}
