fake: lose
