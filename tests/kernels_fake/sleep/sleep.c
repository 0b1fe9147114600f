fake: sleep_us by the name of sleep
