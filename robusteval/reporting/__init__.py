"""Layer 6: frames to tables, figures and pages; numbers come from the record alone."""
