/*
 * What the files of the sink share: block.c, stream.c, fault.c, lane.c and sink.c. No other sees it.
 */
#ifndef SINK_H
#define SINK_H

#include "load.h"

#define STREAMS_MAX 4096                /* partitions remembered at a time */
#define BLOCK_BYTES (16 * 1024)         /* one block of waiting rows */
#define POOL_BYTES (8 * 1024 * 1024)    /* all blocks of waiting rows together */
#define SWITCH_BYTES (128 * 1024)       /* rows that must wait for a partition before COPY moves to it */
#define BUCKETS (2 * STREAMS_MAX)

/* len + 8 * nrows <= cap. Rows grow from the front of data, in a careful pass their events' ids
 * from its end. */
struct block {
	struct block *next;
	size_t len, nrows, cap;
	bool binary;                    /* its rows are: else lines of text */
	_Alignas(int64_t) char data[];
};

struct pool {                           /* zeroed before use */
	struct block *spare, *small;    /* blocks of the two usual sizes that are not in use */
	size_t used;                    /* bytes of those in use */
};

struct stream {                         /* what every row needs comes first: one cache line of 400 streams */
	struct stream *next;            /* in its bucket */
	int64_t start_s;
	struct block *first, *last;
	size_t bytes;                   /* of rows that wait */
	uint64_t settled;               /* the last turn of the sink in which a COPY of it was over */
	uint64_t looked;                /* the last turn in which its columns' types were looked for, */
	uint64_t asked;                 /* and in which they were asked for */
	size_t text_left;               /* bytes of text before a row is tried as binary again */
	uint32_t shape;
	bool typed;                     /* kinds are known, in the turn `asked` */
	bool binary;                    /* its COPY is, once that is begun or planned */
	unsigned char lane;

	enum binary_kind *kinds;        /* of its columns */
	size_t text_run;                /* text_left after the next row that cannot be binary */
	struct stream *then;            /* in its lane's plan */
	uint64_t wrote;                 /* the last turn with a COPY of it, */
	uint64_t probed;                /* and with one without rows, that went well */
	char *into;                     /* its COPY, in text */
	char table[NAME_BYTES_MAX + 1];
};

struct lane {                           /* a connection's COPY */
	struct stream *current;         /* whose COPY is open, or NULL */
	struct stream *plan;            /* whose COPYs come after it in the same statement */
	struct block *out;              /* the block being sent, or sent last while careful */
	size_t out_at;                  /* bytes of it handed over */
	size_t sent;                    /* bytes of the COPY's rows handed over, */
	size_t nrows;                   /* and the rows of its blocks */
	uint64_t saved;                 /* the turn of its savepoint */
	bool faulty;                    /* out is a row that the caller was told of: it is left out */
};

struct sink {
	struct stream *bucket[BUCKETS];
	struct stream *stream[STREAMS_MAX];
	size_t nstream;
	struct stream *found;           /* by the last sink_find */
	struct pool pool;
	struct lane lane[LANES_MAX];
	struct sink_types types;
	bool careful;
	uint64_t turn, swept;           /* counts sink_begin; the last turn in which streams were forgotten */
	struct sink_done done;
};

/* ---- block.c */

/* Has it room for one more row of n bytes? NULL has none. */
bool block_fits(const struct block *, size_t n);
/* Of the usual size, or a quarter of it, or larger if n bytes need that. */
struct block *block_take(struct pool *, size_t n, bool small);
void block_drop(struct pool *, struct block *);         /* takes NULL */
int64_t *block_id(struct block *, size_t row);          /* the row's event, in a careful pass */
void block_free_pool(struct pool *);

/* ---- stream.c */

/* Appends the row. ERR_DATA, and nothing is appended, when the event cannot be decoded. */
int stream_put(struct sink *, struct stream *, const struct shape *, const struct span *values, const struct event *,
	struct err *);
struct block *stream_take(struct stream *);             /* its first block, which there must be */
void stream_put_back(struct stream *, struct block *);  /* becomes the first */
void stream_drop_rows(struct sink *, struct stream *);

/* ---- fault.c */

/* Why the lane's open COPY failed, told in fault; gives e its code. */
int fault_judge(struct sink *, struct lane *, struct pq *dst, struct sink_fault *, struct err *);
/* After ERR_DATA without an event in a careful pass: to the savepoint, and the block's rows are to
 * be sent again in parts. */
int fault_divide(struct sink *, struct lane *, struct pq *dst, const struct sink_fault *, struct err *);
/* After ERR_DATA with an event: to the savepoint, without that row. */
int fault_leave_out(struct sink *, struct lane *, struct pq *dst, struct err *);

/* ---- lane.c */

int lane_pump(struct sink *, size_t lane, struct pq *dst, enum sink_until, struct sink_fault *, struct err *);
void lane_end_copy(struct sink *, struct lane *);       /* goes on with its plan */

#endif
