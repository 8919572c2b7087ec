"""Facts → findings. Pure: no clock, no disk, nobody is asked anything here."""
