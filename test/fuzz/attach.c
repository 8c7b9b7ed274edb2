/*
 * Fuzzes the recognition of templates that attach and do nothing else. One that is recognized stays
 * so with empty statements behind it, and is none any more with any other statement behind it or
 * before it; the scan sees no byte behind the template.
 */
#include "../../event/attach.c"
#include "fuzz.h"

static bool is_all_with(const char *before, struct span text, const char *after)
{
	struct buf longer = { 0 };

	buf_fmt(&longer, "%s%.*s%s", before, (int)text.n, text.p, after);
	struct span copy = fuzz_copy(longer.p, longer.len);
	bool yes = attach_is_all(copy);
	fuzz_free(copy);
	buf_free(&longer);
	return yes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = fuzz_copy((const char *)data, size);

	if (attach_is_all(text)) {
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
