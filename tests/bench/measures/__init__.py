"""One module for each thing that is measured. Each function adds what it finds to the ``Results``."""
