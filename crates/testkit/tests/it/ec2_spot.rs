//! Spot requests and what interrupts spot instances.
