"""What is known of trials and measurements: the schema, reading, quantities, comparisons. No torch."""
