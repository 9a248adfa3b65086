"""How good is a system: benchmarks, protocols, systems, tables and the report."""
