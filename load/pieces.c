/*
 * The pieces in which a slice is read, and their order.
 *
 * Where rows go to many partitions by turns, each gets a COPY of a few rows whenever memory is
 * full, and to begin a COPY costs as much as 30 rows or so. So the first piece of a slice is read
 * as it is, and tells how many rows a partition would have in memory. If they are few, the source
 * sorts each further piece by the partition column, where that is cheap: pieces are 8 times as
 * large as memory, and so are the COPYs. The shorter rows are, the more does the sort cost the
 * source: half as much as reading them where they have 750 bytes.
 */
#include <inttypes.h>

#include "from.h"

#define LOOK_BYTES (256 * 1024)         /* of the first piece: a sixteenth of the sink's memory */
#define SORT_BYTES (32 * 1024 * 1024)   /* of one that is sorted, in up to three times the memory */
#define PIECES_OF_SLICE 8               /* at least, so that a small slice has some, too */
#define FEW_PARTITIONS 16               /* they have enough rows in memory */
#define FEW_ROWS 2                      /* of a partition, in the first piece */

/* Asks for the next one of so many bytes. */
static int ask(struct pieces *s, int64_t bytes, struct err *e)
{
	return scan_ask(s->pass->job->src, s->query, &s->at, bytes, s->order,
		s->extract->list.p, s->pass->reader->binary, e);
}

/* So many bytes, or less of a small slice. */
static int64_t piece_of(const struct pieces *s, int64_t bytes)
{
	int64_t most = s->pass->job->conf->from_slice / PIECES_OF_SLICE;

	return bytes < most ? bytes : most;
}

int pieces_begin(struct pieces *s, const struct pass *p, const struct slice_query *q,
	const struct extract *x, struct err *e)
{
	*s = (struct pieces){ .pass = p, .query = q, .extract = x, .looks = true };
	return ask(s, piece_of(s, LOOK_BYTES), e);
}

void pieces_note(struct pieces *s, int64_t start_s)
{
	uint64_t hash = word_hash((const char *)&start_s, sizeof start_s) % (64 * PIECES_SEEN);
	uint64_t bit = UINT64_C(1) << hash % 64, *word = &s->seen[hash / 64];

	s->nseen += !(*word & bit);
	*word |= bit;
}

/* After the first: are the others to be sorted? */
static void choose_order(struct pieces *s, int64_t rows)
{
	s->looks = false;
	if (s->nseen <= FEW_PARTITIONS || rows / (int64_t)s->nseen >= FEW_ROWS)
		return;
	s->order = s->extract->order;
	log_debug("%s: %" PRId64 " rows go to %zu partitions: further ones are %ssorted",
		s->query->table->name, rows, s->nseen, s->order.p ? "" : "not ");
}

int pieces_next(struct pieces *s, int64_t rows, struct err *e)
{
	if (s->looks)
		choose_order(s, rows);
	return ask(s, s->order.p ? piece_of(s, SORT_BYTES) : INT64_MAX, e);
}

bool pieces_left(const struct pieces *s)
{
	return s->query && !scan_at_end(s->query, &s->at);
}
