/*
 * What an event tells of itself: the words of the `fields` list, and their values.
 */
#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "private.h"

#define DAYS_TO_2000 10957
#define DAY_US INT64_C(86400000000)
#define SECOND_US 1000000
#define NUMBER_MAX 48                   /* bytes of a number's or a time's text */

static const struct { const char *name; unsigned part; } words[] = {
	[TOLD_OP] = { "_OP", 0 }, [TOLD_EVTYPE] = { "_EVTYPE", 0 }, [TOLD_EVID] = { "_EVID", 0 },
	[TOLD_EVTIME] = { "_EVTIME", EVENT_TIME }, [TOLD_TXID] = { "_TXID", EVENT_TXID },
	[TOLD_TABLE] = { "_TABLE", EVENT_TABLE }, [TOLD_TICK] = { "_TICK", EVENT_TICK },
	[TOLD_BATCHTIME] = { "_BATCHTIME", EVENT_BATCH_TIME },
};

enum told told_word(struct span name)
{
	for (enum told t = TOLD_OP; t <= TOLD_BATCHTIME; t++)
		if (span_is(name, words[t].name))
			return t;
	return TOLD_NOTHING;
}

unsigned told_part(enum told t)
{
	return words[t].part;
}

/* The text of a value that is a text. */
static struct span text_of(const struct event *ev, enum told t)
{
	return t == TOLD_OP ? ev->op : t == TOLD_EVTYPE ? ev->type : ev->table;
}

static bool is_text(enum told t)
{
	return t == TOLD_OP || t == TOLD_EVTYPE || t == TOLD_TABLE;
}

static bool is_time(enum told t)
{
	return t == TOLD_EVTIME || t == TOLD_BATCHTIME;
}

static int64_t number_of(const struct event *ev, enum told t)
{
	switch (t) {
	case TOLD_EVID:
		return ev->id;
	case TOLD_TXID:
		return ev->txid;
	case TOLD_TICK:
		return ev->tick;
	case TOLD_EVTIME:
		return ev->time;
	default:
		return ev->batch_time;
	}
}

size_t told_room(const struct event *ev, enum told t)
{
	return is_text(t) ? 2 * text_of(ev, t).n + 2 : NUMBER_MAX;
}

/* An ISO timestamp in UTC, with the year that SQL knows: there is no year 0. */
static size_t put_time(char *out, int64_t us)
{
	int64_t day = date_floor(us, DAY_US), rest = us - day * DAY_US;
	int year, month, dom, s = (int)(rest / SECOND_US);

	if (us == INT64_MAX || us == INT64_MIN)
		return (size_t)sprintf(out, us == INT64_MAX ? "infinity" : "-infinity");
	date_of_days(day + DAYS_TO_2000, &year, &month, &dom);
	return (size_t)sprintf(out, "%04d-%02d-%02d %02d:%02d:%02d.%06d+00%s",
		year > 0 ? year : 1 - year, month, dom, s / HOUR_S, s / 60 % 60, s % 60,
		(int)(rest % SECOND_US), year > 0 ? "" : " BC");
}

static size_t put_escaped(char *out, struct span text)
{
	char *start = out;

	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		if (c == '\\' || (c >= '\b' && c <= '\r')) {
			*out++ = '\\';
			c = c == '\\' ? c : "btnvfr"[c - '\b'];
		}
		*out++ = c;
	}
	return (size_t)(out - start);
}

size_t told_number(char *out, int64_t n)
{
	uint64_t left = n < 0 ? -(uint64_t)n : (uint64_t)n;
	char digits[20];
	size_t at = sizeof digits, minus = n < 0;

	do
		digits[--at] = (char)('0' + left % 10);
	while (left /= 10);
	*out = '-';
	memcpy(out + minus, digits + at, sizeof digits - at);
	return minus + sizeof digits - at;
}

size_t told_copy(char *out, const struct event *ev, enum told t)
{
	if (is_time(t))
		return put_time(out, number_of(ev, t));
	if (!is_text(t))
		return told_number(out, number_of(ev, t));
	struct span text = text_of(ev, t);
	if (text.p)
		return put_escaped(out, text);
	memcpy(out, "\\N", 2);
	return 2;
}

/* ---- binary */

static ssize_t put_bytes(char *out, const char *p, size_t n)
{
	uint32_t be = htobe32((uint32_t)n);

	memcpy(out, &be, sizeof be);
	memcpy(out + BINARY_WORD, p, n);
	return BINARY_WORD + (ssize_t)n;
}

/* Writes up to eight bytes behind the length, for which there is room: a copy of so many as are
 * wanted takes longer. */
static ssize_t put_low_bytes(char *out, int64_t n, size_t bytes)
{
	uint32_t length = htobe32((uint32_t)bytes);
	uint64_t be = htobe64((uint64_t)n << 8 * (sizeof be - bytes));

	memcpy(out, &length, sizeof length);
	memcpy(out + BINARY_WORD, &be, sizeof be);
	return BINARY_WORD + (ssize_t)bytes;
}

size_t told_binary_number(char *out, int64_t n, size_t bytes)
{
	return (size_t)put_low_bytes(out, n, bytes);
}

/* The number's text in a text column is what the server would make of it. */
static ssize_t put_text(char *out, const struct event *ev, enum told t)
{
	char text[NUMBER_MAX];
	struct span s = is_text(t) ? text_of(ev, t) :
		(struct span){ text, told_copy(text, ev, t) };

	return put_bytes(out, s.p, s.n);
}

ssize_t told_binary(char *out, enum binary_kind kind, const struct event *ev, enum told t)
{
	int64_t n = number_of(ev, t);
	bool moment = kind == BINARY_TIMESTAMPTZ || kind == BINARY_TIMESTAMP;

	if (is_text(t) && !text_of(ev, t).p) {
		memset(out, 0xff, BINARY_WORD);
		return BINARY_WORD;
	}
	if (kind == BINARY_TEXT)
		return put_text(out, ev, t);
	if (is_text(t) || moment != is_time(t))
		return -1;
	if (moment || kind == BINARY_INT8)
		return put_low_bytes(out, n, 8);
	if (kind == BINARY_INT4 && n == (int32_t)n)
		return put_low_bytes(out, n, 4);
	return -1;
}
