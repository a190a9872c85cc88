"""One self-contained HTML page of a run or a sweep: no network, no library, all content taken as hostile."""
