/* Fuzzes the COPY encoder against decoding and escaping the slow way, and against unescaping. */
#include "slow.h"

/* The bytes that COPY's text format writes as a backslash and a letter, and these letters. */
static const char bytes[] = "\b\t\n\v\f\r\\", letters[] = "btnvfr\\";

static void slow_escape(struct buf *out, struct span value)
{
	for (size_t i = 0; i < value.n; i++) {
		const char *at = strchr(bytes, value.p[i]);
		if (at)
			slow_put(out, '\\');
		slow_put(out, at ? letters[at - bytes] : value.p[i]);
	}
}

/* As the server reads a column. */
static void slow_unescape(struct buf *out, struct span text)
{
	for (size_t i = 0; i < text.n; i++) {
		CHECK(text.p[i] != '\t' && text.p[i] != '\n' && text.p[i] != '\r' &&
			text.p[i] != 0);
		if (text.p[i] != '\\') {
			slow_put(out, text.p[i]);
			continue;
		}
		CHECK(++i < text.n);
		const char *at = text.p[i] ? strchr(letters, text.p[i]) : NULL;
		CHECK(at);
		slow_put(out, bytes[at - letters]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span raw = fuzz_copy((const char *)data, size);
	char *room = fuzz_room(2 * size);
	struct buf plain = { 0 }, want = { 0 }, back = { 0 };
	size_t bad = 0, want_bad = 0;
	ssize_t n = urlenc_copy(room, raw, &bad);

	if (slow_decode(&plain, raw, &want_bad)) {
		struct span text = { room, (size_t)n };
		CHECK(n >= 0 && text.n <= 2 * size);
		slow_escape(&want, (struct span){ plain.p, plain.len });
		CHECK(span_eq(text, (struct span){ want.p, want.len }));
		slow_unescape(&back, text);
		CHECK(span_eq((struct span){ back.p, back.len },
			(struct span){ plain.p, plain.len }));
	} else {
		CHECK(n == -1 && bad == want_bad && bad < raw.n);
	}
	buf_free(&plain);
	buf_free(&want);
	buf_free(&back);
	free(room);
	fuzz_free(raw);
	return 0;
}
