"""Everything that is drawn: pages, sheets and histograms."""
