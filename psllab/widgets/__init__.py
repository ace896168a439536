"""What the explorers and the desk share: gallery, controls, a job in the background."""
