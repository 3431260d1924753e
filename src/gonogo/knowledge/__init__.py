"""What people know of failures, as FMEA and 8D have it, beside what was measured."""
