/*
 * Rows that were read before it is known whether they are wanted: the answer to a statement. If the
 * next statement is that one, to the letter, they are its answer; else they are forgotten.
 */
#include <string.h>

#include "pq.h"

#define KEPT_BYTES (1024 * 1024)

void kept_forget(struct kept *k)
{
	k->sql.len = k->rows.len = k->n = k->at = 0;
	k->state = KEPT_NONE;
}

void kept_free(struct kept *k)
{
	buf_free(&k->sql);
	buf_free(&k->rows);
	*k = (struct kept){ 0 };
}

void kept_begin(struct kept *k, struct span sql)
{
	kept_forget(k);
	buf_add(&k->sql, sql.p, sql.n);
	k->state = KEPT_SOME;
}

void kept_add(struct kept *k, struct span row)
{
	if (k->state != KEPT_SOME)
		return;
	if (++k->n >= KEPT_ROWS_MAX || k->rows.len + row.n > KEPT_BYTES) {
		kept_forget(k);
		return;
	}
	buf_add(&k->rows, (const char *)&row.n, sizeof row.n);
	buf_add(&k->rows, row.p, row.n);
	buf_add(&k->rows, "", 1);
}

bool kept_end(struct kept *k)
{
	if (k->state == KEPT_SOME)
		k->state = KEPT_ALL;
	return k->state == KEPT_ALL;
}

bool kept_take(struct kept *k, struct span sql)
{
	if (k->state == KEPT_ALL && k->sql.len == sql.n && memcmp(k->sql.p, sql.p, sql.n) == 0)
		k->state = KEPT_TAKEN;
	else
		kept_forget(k);
	return kept_taken(k);
}

bool kept_taken(const struct kept *k)
{
	return k->state == KEPT_TAKEN;
}

bool kept_next(struct kept *k, struct span *row)
{
	size_t n;

	if (k->at == k->rows.len)
		return false;
	memcpy(&n, k->rows.p + k->at, sizeof n);
	*row = (struct span){ k->rows.p + k->at + sizeof n, n };
	k->at += sizeof n + n + 1;
	return true;
}
