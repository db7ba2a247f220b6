"""What ``omserver demo`` needs beyond the product itself: a small Salt site on this machine."""
