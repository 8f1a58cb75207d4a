//! Whatever must agree in two places, read from both.
