"""Quality control: what of the tissue can be counted, and what a reader of the score must know."""
