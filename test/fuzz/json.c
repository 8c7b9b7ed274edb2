/* Fuzzes splitting and decoding of JSON events against the slow way, and what an encoder writes. */
#include "../../event/json.c"
#include "slowjson.h"

/* What COPY's text format makes of the bytes. */
static void slow_escape(struct buf *out, struct span text)
{
	static const char from[] = "\b\t\n\v\f\r\\", to[] = "btnvfr\\";

	for (size_t i = 0; i < text.n; i++) {
		const char *letter = text.p[i] ? strchr(from, text.p[i]) : NULL;
		if (letter)
			slow_put(out, '\\');
		slow_put(out, letter ? to[letter - from] : text.p[i]);
	}
}

static void check_decode(struct span raw)
{
	struct buf want = { 0 }, escaped = { 0 };
	size_t bad = 0, want_bad = 0;
	char *plain = fuzz_room(raw.n), *copy = fuzz_room(2 * raw.n);
	ssize_t n = json_decode(plain, raw, 0, &bad);

	if (!slow_json(&want, raw, &want_bad)) {
		CHECK(n == -1 && bad == want_bad);
		CHECK(json_decode(copy, raw, JSON_COPY, &bad) == -1 && bad == want_bad);
	} else {
		struct span text = { want.p, want.len };
		CHECK(n >= 0 && span_eq((struct span){ plain, (size_t)n }, text));
		slow_escape(&escaped, text);
		n = json_decode(copy, raw, JSON_COPY, &bad);
		CHECK(n >= 0 && span_eq((struct span){ copy, (size_t)n },
			(struct span){ escaped.p, escaped.len }));
	}
	buf_free(&want);
	buf_free(&escaped);
	free(plain);
	free(copy);
}

/* ---- the target */

static void check_object(struct span text)
{
	struct json j;
	struct span name, value;
	const char *last = text.p;
	int rc = json_open(&j, text, '{');

	while (rc >= 0 && (rc = json_next(&j, &name, &value)) > 0) {
		CHECK(fuzz_within(name, text) && name.p > last);
		CHECK(slow_string(name.p, name.p + name.n) == name.p + name.n);
		check_decode(name);
		last = name.p + name.n;
		if (!value.p)
			continue;
		CHECK(fuzz_within(value, text) && value.p > last);
		CHECK(slow_value(value.p, value.p + value.n, 2) == value.p + value.n);
		check_decode(value);
		last = value.p + value.n - 1;
	}
	CHECK((rc == 0) == slow_is_object(text));
	CHECK(rc == 0 || (j.why && *j.why && j.p >= text.p && j.p <= text.p + text.n));
}

/* Any bytes as a string that an encoder writes come back. */
static void check_string_of(struct span text)
{
	struct buf event = { 0 };
	struct json j;
	struct span name, value;
	size_t bad;

	buf_str(&event, "{\"a\": \"");
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		if (c < ' ' || c == '"' || c == '\\')
			buf_fmt(&event, "\\u%04x", c);
		else
			slow_put(&event, c);
	}
	buf_str(&event, "\"}");
	CHECK(json_open(&j, (struct span){ event.p, event.len }, '{') == 0);
	CHECK(json_next(&j, &name, &value) == 1);
	char *out = fuzz_room(value.n);
	ssize_t n = json_decode(out, value, 0, &bad);
	if (text.n && memchr(text.p, 0, text.n))
		CHECK(n == -1);
	else
		CHECK(n >= 0 && span_eq((struct span){ out, (size_t)n }, text));
	CHECK(json_next(&j, &name, &value) == 0);
	free(out);
	buf_free(&event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_Static_assert(SLOW_DEPTH == DEPTH_MAX, "both are as deep");
	struct span text = fuzz_copy((const char *)data, size);

	check_object(text);
	check_string_of(text);
	fuzz_free(text);
	return 0;
}
