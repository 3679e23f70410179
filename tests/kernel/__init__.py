"""Row by row, what interrupts, threads, deaths and floods do to a real kernel; FAULTS section D."""
