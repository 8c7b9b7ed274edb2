/*
 * What missing.c, making.c, inside.c and outside.c share: the partitions of a place that are
 * requested. No other file includes it.
 */
#ifndef PARTS_H
#define PARTS_H

#include "private.h"

#define DDL_LOCK_TIMEOUT_MS 1000        /* while a creation waits, readers queue behind it */

struct part_list {
	struct part_new *at;
	size_t n, cap;
};

struct making {                         /* of a lane */
	struct part_list list;          /* what it looks for or creates now; empty: it does not */
	bool creates;
};

struct parts {                          /* of a place */
	struct part_list want;          /* requested, and not known to exist */
	struct making *making;          /* of all lanes, or NULL before the first use */
	struct part_list made;          /* created in our transactions, and not committed */
	bool simple;                    /* part_template does no more than attach_is_all knows */
	struct attach_split split;      /* of part_template */
	bool last;                      /* those in `made` are finished after their rows, */
	bool copies;                    /* and the indexes that LIKE would copy are made then */
	struct indexes indexes;
	bool fails_inside;              /* creating inside was refused */
	bool alone;                     /* each is created in a transaction of its own */
	/* By a list: values whose partitions cannot be, because something else has the name. */
	struct refused { int64_t start_s; char *why; } *refused;
	size_t nrefused, refused_cap;
	bool refuses;                   /* one was added since missing_has_refused */
};

void missing_put(struct part_list *, const struct part_new *);  /* the list owns what it has */
void missing_drop(struct part_list *, size_t from, size_t to);  /* those before `to`: frees them */
void missing_move(struct part_list *to, struct part_list *from);       /* all of them */
/* Our transactions are rolled back: what is in the lists of lanes, or made, is requested again. */
void missing_again(struct parts *);
void missing_forget_refused(struct parts *);
/* Looks at the answers about those that are requested: what exists becomes known, what neither
 * exists nor can be created is dropped, the others stay in the list. */
void missing_sort_out(struct place *, struct part_list *);
/* Names the event that needs the requested partition at that index, if there is one. ERR_DATA: it
 * is requested no more. Returns e's code. */
int missing_blame(struct parts *, size_t at, int64_t *event, const struct err *e);
/* As missing_look, on that connection. */
int missing_ask(struct place *, struct pq *, int64_t *event, struct err *);
bool missing_waits(const struct err *);         /* did somebody else stand in the way? */

#endif
