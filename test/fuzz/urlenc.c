/* Fuzzes splitting and decoding of rows against the slow way, and decode(encode(row)) = row. */
#include "../../urlenc.c"
#include "slow.h"

static bool same(struct span a, struct span b)
{
	return a.p == b.p && a.n == b.n;
}

static void check_split(struct span row)
{
	struct span rest = row, slow_rest = row, name, value, slow_name, slow_value;

	while (urlenc_next(&rest, &name, &value)) {
		CHECK(slow_next(&slow_rest, &slow_name, &slow_value));
		CHECK(same(name, slow_name) && same(value, slow_value));
		CHECK(fuzz_within(rest, row) && fuzz_within(name, row) &&
			(!value.p || fuzz_within(value, row)));
	}
	CHECK(!slow_next(&slow_rest, &slow_name, &slow_value));
}

static void check_decode(struct span raw)
{
	char *room = fuzz_room(raw.n);
	struct buf want = { 0 };
	size_t bad = 0, want_bad = 0;
	ssize_t n = urlenc_decode(room, raw, &bad);

	if (slow_decode(&want, raw, &want_bad))
		CHECK(n >= 0 && span_eq((struct span){ room, (size_t)n },
			(struct span){ want.p, want.len }));
	else
		CHECK(n == -1 && bad == want_bad && bad < raw.n);
	buf_free(&want);
	free(room);
}

/* What the trigger would write for this name and value is read back as these. */
static void check_field(struct span name, struct span value)
{
	struct buf row = { 0 };
	struct span got_name, got_value;
	size_t bad;

	slow_encode(&row, name);
	if (value.p)
		slow_put(&row, '=');
	slow_encode(&row, value);
	struct span rest = { row.p, row.len };
	CHECK(urlenc_next(&rest, &got_name, &got_value) && rest.n == 0);
	char *room = fuzz_room(row.len);
	ssize_t n = urlenc_decode(room, got_name, &bad);
	CHECK(n >= 0 && span_eq((struct span){ room, (size_t)n }, name));
	CHECK(!got_value.p == !value.p);
	if (value.p) {
		n = urlenc_decode(room, got_value, &bad);
		CHECK(n >= 0 && span_eq((struct span){ room, (size_t)n }, value));
	}
	free(room);
	buf_free(&row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span row = fuzz_copy((const char *)data, size), rest = row;

	check_split(row);
	check_decode(row);
	while (rest.n) {
		struct span value = fuzz_part(&rest, '&');
		bool has_value = value.n && memchr(value.p, '=', value.n);
		struct span name = fuzz_part(&value, '=');
		if (name.n && !memchr(name.p, 0, name.n) &&
		    !(value.n && memchr(value.p, 0, value.n)))
			check_field(name, has_value ? value : (struct span){ NULL, 0 });
	}
	fuzz_free(row);
	return 0;
}
