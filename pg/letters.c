/*
 * Events that cannot be written, listed while a batch is read. Their texts are large; they are
 * dropped as soon as they are told or stored, so that the list stays small.
 */
#include <stdlib.h>
#include <string.h>

#include "pg.h"

#define MESSAGE_MAX 800                 /* bytes of an error kept with its letter */
#define LARGE_BYTES (640 * 1024)

/* The texts of a letter in the order of enum letter_text, each with its NUL. */
static char *texts(const struct letter_place *place, const struct err *e, size_t *bytes)
{
	struct buf all = { 0 };

	/* a character may have been cut in two */
	buf_printable(&all, span_of(e->msg), MESSAGE_MAX);
	buf_add(&all, "", 1);
	buf_add(&all, place->partition, strlen(place->partition) + 1);
	buf_add(&all, place->column, strlen(place->column) + 1);
	buf_add(&all, place->value, strlen(place->value) + 1);
	char *copy = mem_str(all.p, all.len);
	*bytes = all.len;
	buf_free(&all);
	return copy;
}

/* Is it the event of the lowest number? */
static void note_first(struct letters *l, int64_t event, const char *message)
{
	if (l->first_message && l->first <= event)
		return;
	free(l->first_message);
	l->first_message = mem_text(message);
	l->first = event;
}

void letters_add(struct letters *l, int64_t event, size_t lane, const struct letter_place *place,
	const struct err *e)
{
	size_t bytes;

	l->at = mem_grow(l->at, l->n, &l->cap, sizeof *l->at);
	l->text = mem_grow(l->text, l->ntext, &l->text_cap, sizeof *l->text);
	struct letter *new = &l->at[l->n++];
	*new = (struct letter){ .event = event, .lane = (unsigned char)lane };
	memcpy(new->sqlstate, e->sqlstate, sizeof new->sqlstate);
	l->text[l->ntext] = texts(place, e, &bytes);
	l->bytes += bytes + sizeof *l->text;
	note_first(l, event, l->text[l->ntext++]);
}

size_t letters_told(const struct letters *l)
{
	return l->n - l->ntext;
}

const char *letters_text(const struct letters *l, size_t i, enum letter_text which)
{
	const char *text = l->text[i - letters_told(l)];

	for (int before = LETTER_MESSAGE; before < (int)which; before++)
		text += strlen(text) + 1;
	return text;
}

bool letters_are_large(const struct letters *l)
{
	return l->bytes >= LARGE_BYTES;
}

void letters_drop_texts(struct letters *l)
{
	for (size_t i = 0; i < l->ntext; i++)
		free(l->text[i]);
	l->ntext = l->bytes = 0;
}

void letters_leave(struct letters *l, size_t lane)
{
	size_t told = letters_told(l), kept = 0, kept_texts = 0;

	free(l->first_message);
	l->first_message = NULL;
	for (size_t i = 0; i < l->n; i++) {
		char *text = i < told ? NULL : l->text[i - told];
		if (l->at[i].lane == lane) {
			l->left = mem_grow(l->left, l->nleft, &l->left_cap, sizeof *l->left);
			l->left[l->nleft++] = l->at[i].event;
			free(text);
			continue;
		}
		l->at[kept++] = l->at[i];
		if (!text)
			continue;
		l->text[kept_texts++] = text;
		note_first(l, l->at[i].event, text);
	}
	l->n = kept;
	l->ntext = kept_texts;
}

/* ---- an event may have a letter in each lane, where its rows go to two */

struct with_text {
	struct letter letter;
	char *text;
};

static int by_event_and_lane(const void *a, const void *b)
{
	const struct letter *x = &((const struct with_text *)a)->letter;
	const struct letter *y = &((const struct with_text *)b)->letter;

	return x->event != y->event ? (x->event > y->event) - (x->event < y->event) :
		x->lane - y->lane;
}

size_t letters_unique(struct letters *l)
{
	struct with_text *all = mem_alloc((l->n + 1) * sizeof *all);
	size_t n = l->n, kept = 0;

	assert(letters_told(l) == 0);
	for (size_t i = 0; i < n; i++)
		all[i] = (struct with_text){ l->at[i], l->text[i] };
	qsort(all, n, sizeof *all, by_event_and_lane);
	for (size_t i = 0; i < n; i++) {
		if (kept && l->at[kept - 1].event == all[i].letter.event) {
			free(all[i].text);
			continue;
		}
		l->at[kept] = all[i].letter;
		l->text[kept++] = all[i].text;
	}
	free(all);
	l->n = l->ntext = kept;
	return n - kept;
}

static int by_id(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

bool letters_are_full(const struct letters *l, int64_t event, int64_t max)
{
	int64_t n = 0;

	if ((int64_t)l->n < max)
		return false;
	int64_t *id = mem_alloc((l->n + 1) * sizeof *id);
	for (size_t i = 0; i < l->n; i++)
		id[i] = l->at[i].event;
	qsort(id, l->n, sizeof *id, by_id);
	for (size_t i = 0; i < l->n; i++)
		n += (i == 0 || id[i] != id[i - 1]) && id[i] != event;
	free(id);
	return n >= max;
}

void letters_clear(struct letters *l)
{
	letters_drop_texts(l);
	free(l->text);
	free(l->at);
	free(l->left);
	free(l->first_message);
	*l = (struct letters){ 0 };
}

/* ---- what was logged of a batch */

void letters_log_begin(struct letters_log *log, int64_t batch)
{
	if (log->batch != batch)
		log->n = 0;
	log->batch = batch;
}

bool letters_log_has(const struct letters_log *log, int64_t event)
{
	return log->n && bsearch(&event, log->event, log->n, sizeof event, by_id);
}

void letters_log_add(struct letters_log *log, const struct letters *l)
{
	size_t known = log->n;

	for (size_t i = letters_told(l); i < l->n; i++) {
		const struct letters_log before = { .event = log->event, .n = known };
		if (letters_log_has(&before, l->at[i].event))
			continue;
		log->event = mem_grow(log->event, log->n, &log->cap, sizeof *log->event);
		log->event[log->n++] = l->at[i].event;
	}
	if (log->n > known)
		qsort(log->event, log->n, sizeof *log->event, by_id);
}

void letters_log_free(struct letters_log *log)
{
	free(log->event);
	*log = (struct letters_log){ 0 };
}
