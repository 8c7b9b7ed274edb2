/*
 * Fuzzes the recognition of templates that attach and do nothing else. One that is recognized stays
 * so with empty statements behind it, and is none any more with any other statement behind it or
 * before it; the scan sees no byte behind the template. A split is at statements: without those of
 * the middle, which make indexes, the rest is recognized too. Where LIKE copies indexes, it copies
 * none when told so at the place that is named.
 */
#include "../../event/attach.c"
#include "fuzz.h"

static bool is_all_with(const char *before, struct span text, const char *after)
{
	struct buf longer = { 0 };

	buf_fmt(&longer, "%s%.*s%s", before, (int)text.n, text.p, after);
	struct span copy = fuzz_copy(longer.p, longer.len);
	struct attach_split split;
	bool yes = attach_is_all(copy, &split);
	fuzz_free(copy);
	buf_free(&longer);
	return yes;
}

static void check_split(struct span text, const struct attach_split *split)
{
	struct span head = { text.p, split->tail };
	struct buf rest = { 0 };

	CHECK(split->parent <= split->parent_end && split->parent_end <= split->tail);
	CHECK(split->tail <= split->attach && split->attach <= text.n);
	CHECK(span_is((struct span){ text.p + split->parent, split->parent_end - split->parent },
		split->inherits ? "_PARENT" : ""));
	if (split->mixed || memchr(text.p, 0, text.n))
		return;
	CHECK(split->inherits ? split->attach == text.n :
		strncasecmp(text.p + split->attach, "alter", 5) == 0);
	CHECK(split->tail == text.n || strncasecmp(text.p + split->tail, "alter", 5) == 0 ||
		strncasecmp(text.p + split->tail, "create", 6) == 0);
	buf_add(&rest, text.p + split->attach, text.n - split->attach);
	CHECK(is_all_with("", head, buf_cstr(&rest)));
	buf_free(&rest);
	CHECK(split->like < split->tail);
	if (!split->like)
		return;
	struct attach_split none;
	buf_fmt(&rest, "%.*s excluding indexes %.*s", (int)split->like, text.p,
		(int)(text.n - split->like), text.p + split->like);
	CHECK(attach_is_all((struct span){ rest.p, rest.len }, &none) && none.like == 0);
	buf_free(&rest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = fuzz_copy((const char *)data, size);
	struct attach_split split;

	if (attach_is_all(text, &split)) {
		check_split(text, &split);
		CHECK(!memchr(text.p, 0, text.n) || memmem(text.p, text.n, "--", 2) ||
			memchr(text.p, '\'', text.n) || memchr(text.p, '"', text.n));
		CHECK(memmem(text.p, text.n, "_PARENT", 7) && memmem(text.p, text.n, "_DEST_TABLE",
			11));
		if (!memchr(text.p, 0, text.n)) {
			CHECK(is_all_with("-- '\n ", text, "\n; ;-- $$"));
			CHECK(!is_all_with("", text, "\n; commit"));
			CHECK(!is_all_with("", text, "\n; lock table other"));
			CHECK(!is_all_with("select 1;", text, ""));
		}
	}
	fuzz_free(text);
	return 0;
}
