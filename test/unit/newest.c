/*
 * Tests of newest.c: a key is found as long as it is remembered, and never taken for another.
 *
 * Linked with: base/buf.c
 */
#include "../../load/newest.c"
#include "unit.h"

static struct newest *s;

static void check(const char *name, bool got, bool wanted)
{
	static const char *const answer[] = { "no", "newer" };

	check_span("", span_of(name), span_of(answer[got]), span_of(answer[wanted]));
}

static struct newest_key key_of(const struct span *values, size_t n)
{
	return (struct newest_key){ .place = 1, .start_s = 86400, .value = values, .n = n };
}

static bool is_after(const struct newest_key *k, int64_t id)
{
	return newest_is_after(s, k, id);
}

static void check_keys(void)
{
	const struct span ab_c[] = { TEXT("ab"), TEXT("c") }, a_bc[] = { TEXT("a"), TEXT("bc") };
	const struct span null_c[] = { { NULL, 0 }, TEXT("c") }, none_c[] = { TEXT(""), TEXT("c") };
	const struct newest_key k = key_of(ab_c, 2), cut = key_of(a_bc, 2), one = key_of(ab_c, 1);
	const struct newest_key null = key_of(null_c, 2), none = key_of(none_c, 2);
	struct newest_key place = k, part = k, format = k;

	place.place++;
	part.start_s++;
	format.format = FORMAT_JSON;
	check("nothing is known", is_after(&k, 1), false);
	newest_add(s, &k, 7);
	check("of an earlier event", is_after(&k, 6), true);
	check("of the same event", is_after(&k, 7), false);
	check("of a later event", is_after(&k, 8), false);
	newest_add(s, &k, 5);
	check("an earlier one that is added later is not the newest", is_after(&k, 6), true);
	check("values that are cut elsewhere", is_after(&cut, 1), false);
	check("fewer columns", is_after(&one, 1), false);
	check("another destination", is_after(&place, 1), false);
	check("another partition", is_after(&part, 1), false);
	check("another format", is_after(&format, 1), false);
	newest_add(s, &null, 7);
	check("NULL is not empty", is_after(&none, 1), false);
	newest_begin(s);
	check("a pass begins with none", is_after(&k, 1), false);
}

/* The i-th of many keys. */
static struct newest_key numbered(char *text, struct span *value, int i)
{
	*value = (struct span){ text, (size_t)sprintf(text, "%d", i) };
	return key_of(value, 1);
}

static int count_known(int from, int to)
{
	char text[16];
	struct span value;
	int known = 0;

	for (int i = from; i < to; i++) {
		const struct newest_key k = numbered(text, &value, i);
		known += is_after(&k, i);
	}
	return known;
}

static void add_many(int from, int to)
{
	char text[16];
	struct span value;

	for (int i = from; i < to; i++) {
		const struct newest_key k = numbered(text, &value, i);
		newest_add(s, &k, i + 1);
	}
}

static void check_many(void)
{
	newest_begin(s);
	add_many(0, 100000);
	check("a hundred thousand keys are all known", count_known(0, 100000) == 100000, true);
	check("and no others", count_known(100000, 200000) == 0, true);
	add_many(100000, 1000000);
	check("of a million not all", count_known(0, 1000000) < 200000, true);
	check("but the last one", count_known(999999, 1000000) == 1, true);
	check("in bounded memory", s->records.cap <= 2 * MOST && s->nslot <= 262144, true);
}

static void check_long(void)
{
	char text[KEY_MOST + 1];
	const struct span most[] = { { text, KEY_MOST } }, more[] = { { text, KEY_MOST + 1 } };
	const struct newest_key k = key_of(most, 1), longer = key_of(more, 1);

	memset(text, 'x', sizeof text);
	newest_begin(s);
	newest_add(s, &longer, 7);
	check("a long key is not kept", is_after(&longer, 1), false);
	newest_add(s, &k, 7);
	check("one that is not too long is", is_after(&k, 1), true);
}

int main(void)
{
	s = newest_new();
	check_keys();
	check_many();
	check_long();
	newest_free(s);
	newest_free(NULL);
	return unit_end();
}
