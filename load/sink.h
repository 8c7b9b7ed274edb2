/*
 * What block.c, stream.c, fault.c, lane.c and sink.c share. No other file includes it.
 */
#ifndef SINK_H
#define SINK_H

#include "load.h"

#define STREAMS_MAX 4096                /* most streams at a time */
#define BLOCK_BYTES (16 * 1024)         /* one block of waiting rows */
#define POOL_BYTES (8 * 1024 * 1024)    /* all blocks together */
#define SWITCH_BYTES (128 * 1024)       /* waiting bytes that make COPY move to a stream */
#define BUCKETS (2 * STREAMS_MAX)

/* len + 8 * nrows <= cap. Rows grow from the front of data, and in a careful pass their events' ids
 * from the end. */
struct block {
	struct block *next;
	size_t len, nrows, cap;
	bool binary;                    /* rows in binary format; else lines of text */
	_Alignas(int64_t) char data[];
};

struct pool {                           /* zeroed before use */
	struct block *spare, *small;    /* unused blocks of the two usual sizes */
	size_t used;                    /* bytes of those in use */
};

/* The column list of all streams of one shape: for 1,000 partitions, a copy for each takes more
 * memory than the rows. */
struct shared_list {
	size_t users;
	char text[];
};

struct stream {                         /* hot members first: one cache line per stream */
	struct stream *next;            /* in its bucket */
	int64_t start_s;
	struct block *first, *last;
	size_t bytes;                   /* of rows that wait */
	uint64_t settled;               /* last turn of the sink in which its COPY ended */
	uint64_t looked;                /* last turn that looked up its column types, */
	uint64_t asked;                 /* and that asked for them */
	size_t text_left;               /* bytes of text before a row is tried as binary again */
	uint32_t shape;
	bool typed;                     /* kinds are valid, in turn `asked` */
	bool binary;                    /* format of its COPY, once begun or planned */
	unsigned char lane;

	enum binary_kind *kinds;        /* of its columns */
	size_t text_run;                /* next value of text_left */
	struct stream *then;            /* in its lane's plan */
	uint64_t wrote;                 /* last turn with a COPY to it, */
	uint64_t probed;                /* and with one without rows that succeeded */
	char *target;                   /* the table as COPY names it */
	struct shared_list *columns;    /* as COPY lists them */
	char table[NAME_BYTES_MAX + 1];
};

struct lane {                           /* the COPY of one connection */
	struct stream *current;         /* its COPY is open; or NULL */
	struct stream *plan;            /* their COPYs follow in the same statement */
	struct block *out;              /* the block being sent; if careful, the last one sent */
	size_t out_at;                  /* bytes of it passed to libpq */
	size_t sent;                    /* bytes of the COPY's rows passed to libpq, */
	size_t nrows;                   /* and rows of its blocks */
	uint64_t saved;                 /* turn of its savepoint */
	bool faulty;                    /* out is a row reported as faulty: leave it out */
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
	uint64_t turn, swept;           /* counts sink_begin; last turn that forgot streams */
	struct sink_done done;
};

/* ---- block.c */

/* Does one more row of n bytes fit? NULL: no. */
bool block_fits(const struct block *, size_t n);
/* A block of the usual size, or small, or larger if n bytes need it. */
struct block *block_take(struct pool *, size_t n, bool small);
void block_drop(struct pool *, struct block *);         /* takes NULL */
int64_t *block_id(struct block *, size_t row);          /* its event, if careful */
void block_free_pool(struct pool *);

/* ---- stream.c */

/* Appends the row. ERR_DATA: the event cannot be decoded, and nothing is appended. */
int stream_put(struct sink *, struct stream *, const struct shape *, const struct span *values, const struct event *,
	struct err *);
void stream_add_copy(struct buf *, const struct stream *);      /* appends its COPY statement for text */
struct block *stream_take(struct stream *);             /* its first block, which exists */
void stream_put_back(struct stream *, struct block *);  /* becomes the first */
void stream_drop_rows(struct sink *, struct stream *);

/* ---- fault.c */

/* Finds why the lane's open COPY failed: fills fault and sets e's code, which it returns. */
int fault_judge(struct sink *, struct lane *, struct pq *dst, struct sink_fault *, struct err *);
/* After ERR_DATA without an event in a careful pass: rolls back to the savepoint and divides the
 * block, to be sent again in parts. */
int fault_divide(struct sink *, struct lane *, struct pq *dst, const struct sink_fault *, struct err *);
/* After ERR_DATA with an event: rolls back to the savepoint and drops that row. */
int fault_leave_out(struct sink *, struct lane *, struct pq *dst, struct err *);

/* ---- lane.c */

/* As sink_pump. */
int lane_pump(struct sink *, size_t lane, struct pq *dst, enum sink_until, struct sink_fault *, struct err *);
void lane_end_copy(struct sink *, struct lane *);       /* continues with its plan */

#endif
