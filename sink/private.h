/*
 * What the files of this folder share; no other folder includes it.
 */
#ifndef SINK_PRIVATE_H
#define SINK_PRIVATE_H

#include "sink.h"

#define STREAMS_MAX 65536               /* most streams at a time, */
#define WAITING_MAX (STREAMS_MAX / 2)   /* and most of them with waiting rows */
#define BLOCK_BYTES (16 * 1024)         /* one block of waiting rows */
#define POOL_BYTES (4 * 1024 * 1024)    /* all blocks together, of up to MORE_FROM streams */
#define MORE_FROM 512
#define MORE_BYTES 2048                 /* for each stream above that number */
#define MANY 256                        /* streams: most have few rows */
#define SWITCH_BYTES (128 * 1024)       /* waiting bytes that make COPY move to a stream */
#define LOOK_BYTES (16 * 1024)          /* sent to a partition that is worth a look at its types */
#define HELD_BYTES (256 * 1024)         /* blocks of suspect rows that wait for the end */
#define LEVELS 65
#define TRUST_FIRST 8192                /* of a destination: see stream.c */

/* len + 8 * nrows <= cap. Rows grow from the front of data, and for a careful COPY the ids of their
 * events from its end. */
struct block {
	struct block *next;
	size_t len, nrows, cap;
	bool binary;                    /* rows in binary format; else lines of text */
	_Alignas(int64_t) char data[];
};

enum block_size { BLOCK_TINY, BLOCK_SMALL, BLOCK_FULL };

struct pool {                           /* zeroed before use */
	struct block *spare[3];         /* unused blocks, by enum block_size */
	size_t used;                    /* bytes of the others, in use */
};

/* A partition with streams. */
struct sink_part {
	struct hash_link link;
	int64_t start_s;
	uint32_t of;                    /* the number of its destination */
	uint32_t streams;               /* how many it has, */
	uint32_t waiting;               /* and in how many of them rows wait */
	uint64_t wrote;                 /* last turn with a COPY to it */
	size_t sent;                    /* bytes of COPYs that ended in that turn */
	bool counted;                   /* there are rows that sink_done does not have yet: */
	int64_t stored, unstored;
	char table[NAME_BYTES_MAX + 1];
};

struct shared_kinds {
	struct shared_kinds *next;
	enum binary_kind at[];
};

/* The column list of all streams of one shape, and the kinds that columns of these names have: for
 * 1,000 partitions, a copy for each takes more memory than the rows. */
struct shared_list {
	struct hash_link link;
	size_t users;
	struct shared_kinds *kinds;
	struct stream *joined;          /* those that staged ones join, one for each lane */
	char text[];
};

struct level {                          /* streams in which about as many bytes wait */
	struct stream *first, *last;
};

struct lane {                           /* the COPY of one connection */
	struct stream *current;         /* its COPY is open; or NULL */
	struct stream *plan;            /* the streams whose COPYs follow in the same statement */
	struct block *out;              /* the block being sent; if careful, the last one sent */
	size_t out_at;                  /* bytes of out passed to libpq */
	size_t sent;                    /* bytes of the COPY's rows passed to libpq, */
	size_t nrows;                   /* and rows of its blocks */
	uint64_t saved;                 /* turn of its savepoint; only careful COPYs come after */
	struct stream *ended;           /* those whose types are to be looked up */
	struct level level[LEVELS];
	struct level suspects;          /* streams of suspects in which rows wait */
	size_t faulty;                  /* which row of out was reported, from 1: leave it out */
	bool failed;                    /* a COPY did: first comes a rollback to the savepoint */
	size_t run;                     /* rows of the next careful COPY, at most; 0: any number */
};

struct sink {
	struct hash streams, parts, lists;
	struct stream **stream;
	size_t nstream, stream_cap;
	size_t waiting;                 /* streams with rows */
	struct stream *found;           /* by the last sink_find */
	struct pool pool;
	struct lane lane[LANES_MAX];
	struct sink_types types;
	bool careful, ordered;
	size_t held;                    /* bytes of blocks of suspects that wait; */
	bool held_long;                 /* they were too many: send all before other rows */
	uint64_t turn, swept;           /* counts sink_begin; last turn that forgot streams */
	uint64_t known, known_before;   /* counts what types are known by; before this turn */
	struct sink_done *done;         /* by destination */
	size_t ndone, done_cap;
	int64_t bytes;                  /* sent since sink_begin */
	bool begun;                     /* and a COPY has begun */
};

/* The bytes that blocks may take. Where rows wait in many streams it is more, or a COPY would have
 * few rows. */
static inline size_t sink_room(const struct sink *s)
{
	return POOL_BYTES + (s->waiting > MORE_FROM ? (s->waiting - MORE_FROM) * MORE_BYTES : 0);
}

/* Has it asked for its types in this turn, and are they known? */
static inline bool sink_typed(const struct sink *s, const struct stream *st)
{
	return st->typed && st->asked > s->known_before;
}

/* Does each COPY to it take one block, under a savepoint? */
static inline bool sink_careful(const struct sink *s, const struct stream *st)
{
	return s->careful || st->suspect;
}

/* ---- block.c */

/* A block of that size, or larger if a row of n bytes needs it. */
struct block *block_take(struct pool *, size_t n, enum block_size);
void block_drop(struct pool *, struct block *);         /* returns it to the pool; takes NULL */
void block_free_pool(struct pool *);                    /* frees the unused blocks */

/* The id of the row's event, for a careful COPY. */
static inline int64_t *block_id(struct block *b, size_t row)
{
	return (int64_t *)(void *)(b->data + b->cap) - 1 - row;
}

/* Does one more row of n bytes fit? NULL: no. */
static inline bool block_fits(const struct block *b, size_t n)
{
	return b && b->len + n + sizeof(int64_t) * (b->nrows + 1) <= b->cap;
}

/* ---- level.c */

void level_set(struct sink *, struct stream *);         /* the bytes that wait have changed */
/* A stream of the lane in which at least half as many bytes wait as in any, but those of suspects.
 * NULL: none do. */
struct stream *level_fullest(const struct sink *, size_t lane);
/* Sets list to up to n streams of the lane in which that many bytes wait, above 0, those with most
 * of them first; returns how many. */
size_t level_list(const struct sink *, size_t lane, size_t least, struct stream **list, size_t n);

/* ---- stream.c */

void stream_add_copy(struct buf *, const struct stream *);      /* its COPY statement, for text */
/* The table that its COPY names, as messages about it do. */
struct span stream_copied(const struct stream *);
/* Takes its first block, which must exist; puts one back as its first. */
struct block *stream_take(struct sink *, struct stream *);
void stream_put_back(struct sink *, struct stream *, struct block *);
/* The target refused a row of the stream: if that waited apart, it was right to. */
void stream_refused(struct sink *, const struct stream *);

/* ---- fault.c */

/* After the lane's open COPY failed with e: fills fault. 0: it was careful, its block was rolled
 * back and divided; continue. ERR_DATA of a careful one: fault names the event, and fault_leave_out
 * comes next. Else the error. */
int fault_judge(struct sink *, struct lane *, struct pq *dst, struct sink_fault *, struct err *);
/* Drops the row that was reported; the others of its block are sent again. */
void fault_leave_out(struct sink *, struct lane *);
/* Before a careful COPY: leaves only as many rows in the current stream's first block as are likely
 * to be good. What comes after a bad row is sent in vain. */
void fault_shorten(struct sink *, struct lane *);

/* ---- lane.c */

#define LANE_SAVE "SAVEPOINT tdispatch"
#define LANE_RELEASE "RELEASE SAVEPOINT tdispatch"
#define LANE_UNDO "ROLLBACK TO SAVEPOINT tdispatch"

void lane_drop(struct sink *, struct lane *);           /* the open COPY, its block and its plan */
void lane_ended(struct sink *, struct stream *);        /* its column types are to be looked up */
void lane_count(struct sink *, const struct stream *, int64_t stored, int64_t unstored);

#endif
