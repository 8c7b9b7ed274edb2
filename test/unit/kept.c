/* Tests of kept.c: rows are the answer to one statement, once, and only if all are there. */
#include "../../base/buf.c"
#include "../../pg/kept.c"
#include "unit.h"

/* Three rows of the statement "copy". */
static void fill(struct kept *k)
{
	static const struct span rows[] = { TEXT("one"), TEXT(""), TEXT("t\0ree") };

	kept_begin(k, span_of("copy"));
	for (size_t i = 0; i < COUNT(rows); i++)
		kept_add(k, rows[i]);
}

static void check_rows(struct kept *k)
{
	struct span row;

	check_int("it is taken", kept_take(k, span_of("copy")), true);
	check_int("the first", kept_next(k, &row) && span_is(row, "one") && !row.p[row.n], true);
	check_int("an empty one", kept_next(k, &row) && !row.n && !row.p[0], true);
	check_int("one with a NUL", kept_next(k, &row) && row.n == 5 && row.p[2] == 'r', true);
	check_int("the end", kept_next(k, &row), false);
	check_int("it was taken", kept_taken(k), true);
	check_int("not a second time", kept_take(k, span_of("copy")), false);
	check_int("and then not", kept_taken(k), false);
}

static void check_others(struct kept *k)
{
	fill(k);
	check_int("not before the end", kept_take(k, span_of("copy")), false);
	check_int("nor after that", kept_end(k), false);
	fill(k);
	check_int("all are there", kept_end(k), true);
	check_int("another statement", kept_take(k, span_of("cops")), false);
	check_int("the same after another", kept_take(k, span_of("copy")), false);
}

/* As many rows as that, each of so many bytes. */
static bool keeps(struct kept *k, size_t n, size_t bytes)
{
	char *row = mem_alloc(bytes);

	memset(row, 'x', bytes);
	kept_begin(k, span_of("copy"));
	for (size_t i = 0; i < n; i++)
		kept_add(k, (struct span){ row, bytes });
	free(row);
	return kept_end(k) && kept_take(k, span_of("copy"));
}

int main(void)
{
	struct kept k = { 0 };

	fill(&k);
	check_int("three rows", kept_end(&k), true);
	check_rows(&k);
	check_others(&k);
	check_int("many rows", keeps(&k, KEPT_ROWS_MAX - 1, 10), true);
	check_int("too many", keeps(&k, KEPT_ROWS_MAX, 10), false);
	check_int("a large one", keeps(&k, 1, KEPT_BYTES), true);
	check_int("too large", keeps(&k, 2, KEPT_BYTES / 2 + 1), false);
	kept_free(&k);
	return unit_end();
}
