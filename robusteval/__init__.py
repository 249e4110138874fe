"""Is this model robust, is it calibrated, and did it get worse?"""

__version__ = "0.1.0"
