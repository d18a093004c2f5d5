"""
What is published about the rules: the catalogue, source attributes, FHIR resources. Content in, data out.

Knows neither web nor disk nor clock: who publishes says for which day, under which address, in whose name.
"""
