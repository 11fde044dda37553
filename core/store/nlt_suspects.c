/*
 * nlt_suspects.c - slots of the control page that name damaged blocks.
 */
#include "nlt_suspects.h"

enum {
    EMPTY,
    WRITING,
    FULL
};

/* Copies the name of a full slot; false: it is not full, or was not. */
static bool
read_slot(const nlt_head_suspect_t *s, nlt_ulid_t *out)
{
    if (atomic_load(&s->turn) != FULL) {
        return false;
    }
    memcpy(out->c, s->ulid, NLT_ULID_LEN);
    out->c[NLT_ULID_LEN] = '\0';
    return atomic_load(&s->turn) == FULL
           && nlt_ulid_valid((nlt_str_t){NLT_ULID_LEN, out->c});
}

void
nlt_suspects_post(nlt_head_ctl_t *ctl, const char *ulid)
{
    nlt_ulid_t there;

    for (size_t i = 0; i < NLT_HEAD_SUSPECTS; i++) {
        if (read_slot(&ctl->suspects[i], &there)
            && strcmp(there.c, ulid) == 0) {
            return;
        }
    }
    for (size_t i = 0; i < NLT_HEAD_SUSPECTS; i++) {
        nlt_head_suspect_t *s = &ctl->suspects[i];
        uint32_t turn = EMPTY;

        if (atomic_compare_exchange_strong(&s->turn, &turn, WRITING)) {
            memcpy(s->ulid, ulid, NLT_ULID_LEN + 1);
            atomic_store(&s->turn, FULL);
            return;
        }
    }
}

bool
nlt_suspects_first(nlt_head_ctl_t *ctl, nlt_ulid_t *out)
{
    for (size_t i = 0; i < NLT_HEAD_SUSPECTS; i++) {
        nlt_head_suspect_t *s = &ctl->suspects[i];

        if (read_slot(s, out)) {
            return true;
        }
        /* Not a name: nobody but a corrupt head puts that there. */
        if (atomic_load(&s->turn) >= FULL) {
            atomic_store(&s->turn, EMPTY);
        }
    }
    return false;
}

void
nlt_suspects_clear(nlt_head_ctl_t *ctl, const char *ulid)
{
    nlt_ulid_t there;

    for (size_t i = 0; i < NLT_HEAD_SUSPECTS; i++) {
        if (read_slot(&ctl->suspects[i], &there)
            && strcmp(there.c, ulid) == 0) {
            atomic_store(&ctl->suspects[i].turn, EMPTY);
        }
    }
}

void
nlt_suspects_reset(nlt_head_ctl_t *ctl)
{
    for (size_t i = 0; i < NLT_HEAD_SUSPECTS; i++) {
        uint32_t turn = WRITING;

        (void) atomic_compare_exchange_strong(&ctl->suspects[i].turn, &turn,
                                              EMPTY);
    }
}
