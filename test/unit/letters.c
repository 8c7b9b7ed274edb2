/*
 * Tests of the list of dead letters: what is told takes little memory, and what is not keeps its
 * texts, whatever is dropped meanwhile.
 *
 * Linked with: base/buf.c pg/letters.c
 */
#include "unit.h"
#include "../../pg/pg.h"

static void add(struct letters *l, int64_t event, size_t lane)
{
	struct err e = { .code = ERR_DATA, .sqlstate = "22P02" };
	char partition[20];

	snprintf(partition, sizeof partition, "p%d", (int)event);
	snprintf(e.msg, sizeof e.msg, "m%d", (int)event);
	letters_add(l, event, lane, &(struct letter_place){ partition, "", "value" }, &e);
}

static void check_texts(const struct letters *l, size_t i)
{
	char want[20];

	snprintf(want, sizeof want, "m%d", (int)l->at[i].event);
	check_str("message", letters_text(l, i, LETTER_MESSAGE), want);
	want[0] = 'p';
	check_str("partition", letters_text(l, i, LETTER_PARTITION), want);
	check_str("column", letters_text(l, i, LETTER_COLUMN), "");
	check_str("value", letters_text(l, i, LETTER_VALUE), "value");
	check_str("sqlstate", l->at[i].sqlstate, "22P02");
}

static void test_told(void)
{
	struct letters l = { 0 };

	for (int i = 10; i > 5; i--)
		add(&l, i, 0);
	check_int("told", (int64_t)letters_told(&l), 0);
	check_texts(&l, 4);
	letters_drop_texts(&l);
	add(&l, 20, 1);
	check_int("told", (int64_t)letters_told(&l), 5);
	check_texts(&l, 5);
	check_int("all are listed", (int64_t)l.n, 6);
	check_int("the first", l.first, 6);
	check_str("its message", l.first_message, "m6");
	letters_clear(&l);
	check_int("nothing is left", (int64_t)l.n, 0);
}

static void test_leave(void)
{
	struct letters l = { 0 };

	for (int i = 0; i < 10; i++) {
		if (i == 4)
			letters_drop_texts(&l);
		add(&l, i, i % 2);
	}
	letters_leave(&l, 0);
	check_int("those of the other lane", (int64_t)l.n, 5);
	check_int("told", (int64_t)letters_told(&l), 2);
	for (size_t i = 0; i < l.n; i++)
		check_int("event", l.at[i].event, 2 * (int64_t)i + 1);
	for (size_t i = letters_told(&l); i < l.n; i++)
		check_texts(&l, i);
	check_int("left", (int64_t)l.nleft, 5);
	for (size_t i = 0; i < l.nleft; i++)
		check_int("event that is left", l.left[i], 2 * (int64_t)i);
	letters_clear(&l);
}

static void test_full(void)
{
	struct letters l = { 0 };

	while (!letters_are_large(&l) && l.n < 1000000)
		add(&l, (int64_t)l.n, 0);
	check_int("full of thousands", l.n > 5000 && l.n < 200000, true);
	letters_drop_texts(&l);
	check_int("and empty", letters_are_large(&l), false);
	letters_clear(&l);
}

/* Of an event with two letters, the one of the lower lane stays. */
static void test_unique(void)
{
	struct letters l = { 0 };

	add(&l, 7, 2);
	add(&l, 5, 1);
	add(&l, 7, 1);
	add(&l, 9, 0);
	check_int("three events are not four", letters_are_full(&l, 1, 4), false);
	check_int("but three", letters_are_full(&l, 1, 3), true);
	check_int("one of them is no more", letters_are_full(&l, 9, 3), false);
	check_int("dropped", (int64_t)letters_unique(&l), 1);
	check_int("left", (int64_t)l.n, 3);
	check_int("sorted", l.at[0].event == 5 && l.at[1].event == 7 && l.at[2].event == 9, true);
	check_int("lane", l.at[1].lane, 1);
	for (size_t i = 0; i < l.n; i++)
		check_texts(&l, i);
	letters_clear(&l);
}

/* Whatever pass it was, an event is logged once; of another batch it is another event. */
static void test_logged(void)
{
	struct letters_log log = { 0 };

	letters_log_begin(&log, 1);
	for (int pass = 0; pass < 3; pass++) {
		struct letters l = { 0 };
		for (int i = 20 - pass; i > 0; i--) {
			check_int("logged before", letters_log_has(&log, i), pass > 0);
			add(&l, i, 0);
			if (i == 10) {
				letters_log_add(&log, &l);
				letters_drop_texts(&l);
			}
		}
		letters_log_add(&log, &l);
		letters_clear(&l);
	}
	check_int("each once", (int64_t)log.n, 20);
	letters_log_begin(&log, 1);
	check_int("of the batch", letters_log_has(&log, 7), true);
	letters_log_begin(&log, 2);
	check_int("of another", letters_log_has(&log, 7), false);
	letters_log_free(&log);
}

int main(void)
{
	test_logged();
	test_unique();
	test_told();
	test_leave();
	test_full();
	return unit_end();
}
