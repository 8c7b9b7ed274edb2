/*
 * What the files of this folder share; no other folder includes it.
 */
#ifndef REPORT_PRIVATE_H
#define REPORT_PRIVATE_H

#include "report.h"

/* ---- metrics.c */

/* Counts a loaded batch. */
void metrics_batch(struct metrics *, const struct load *);
void metrics_error(struct metrics *, const char *sqlstate);     /* "": ignored */
void metrics_retry(struct metrics *, int code); /* after an error of that code */
void metrics_free(struct metrics *);            /* what is in it */
void metrics_text(const struct metrics *, const struct health *, const struct conf *, struct buf *);

/* ---- state.c */

void state_begin(struct state *);               /* of this process */
void state_name(struct state *, const struct conf *);   /* whose it is */
/* 0, or -1 with errno. */
int state_write(const char *path, const struct state *);

/* ---- progress.c */

/* verify: each event is read twice. */
void progress_begin(struct progress *, enum progress_kind, bool verify);
/* Shows the progress if it is time to. events: read in the current batch. Returns the milliseconds
 * until it wants to be called again. */
int64_t progress_show(struct progress *, int64_t events);
/* A batch is committed. */
void progress_batch(struct progress *, const struct load *, const struct tally *rows);
/* As watch_slice. */
void progress_slice(struct progress *, int64_t bytes, int64_t bytes_total, int64_t slice_bytes,
	int64_t slice_rows);
/* Shows the summary. how: as for watch_end. */
void progress_end(struct progress *, const char *how);

/* ---- listen.c */

bool listen_is_open(const struct listen *);
/* Shows what is to be answered from now on; starts the child, or another if it has ended. */
void listen_publish(struct listen *, struct span metrics, const struct state *);

/* ---- ticker.c */

/* Logs what the child has to say, and starts another if it has ended. Takes NULL. */
void ticker_tend(struct ticker *);

/* ---- report.c */

/* Is it time? Then the next time is every_ms from now. */
bool report_is_due(int64_t *next_ms, int64_t every_ms);
void report_start(struct report *, const struct conf *);
/* The config is about to become `to`: old files are removed if their paths change. */
void report_moves(struct report *, const struct conf *to);
/* Called within a batch with the events read and the bytes sent so far: a change is progress.
 * Cheap. Returns the milliseconds until it must be called again; -1: no limit. */
int64_t report_progress(struct report *, int64_t events, int64_t bytes);
void report_begin(struct report *, const struct queue_batch *);        /* it is at hand */
void report_stopping(struct report *);          /* after the batch at hand */
void report_alive(struct report *);             /* progress of any other kind */
void report_partition(struct report *);         /* progress: a partition was created */
void report_batch(struct report *, const struct load *, const struct letters *);
void report_queue(struct report *, const struct queue_backlog *);       /* as it is now */
void report_dead(struct report *, int64_t letters);     /* waiting; -1: unknown */
/* again: what failed will be tried again */
void report_error(struct report *, const struct err *, bool again);
/* As process_sleep_on. */
void report_sleep(struct report *, const int *fd, unsigned n, int64_t ms);
void report_end(struct report *, bool failed);

#endif
