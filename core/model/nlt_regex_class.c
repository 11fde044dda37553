/*
 * nlt_regex_class.c - character classes and escapes of RE2.
 *
 * A class is a list of ranges, plus Unicode properties in PCRE2's own
 * notation.  Perl and POSIX classes are ASCII in RE2 and become ranges, also
 * when negated, so that nothing depends on PCRE2's tables.
 */
#include "nlt_regex_ast.h"

#include "nlt_utf8.h"

nlt_rx_class_t *
nlt_rx_class_new(nlt_rx_parser_t *x)
{
    nlt_rx_class_t *c = nlt_pool_zalloc(x->pool, sizeof(*c));

    if (c != NULL) {
        nlt_buf_init(&c->props, &x->mem, 1 << 20);
        c->fold = (x->flags & NLT_RX_FOLD) != 0;
    }
    return c;
}

static nlt_rc_t
no_memory(nlt_rx_parser_t *x)
{
    return nlt_err_set(x->err, NLT_ENOMEM,
                       "regular expression of %zu bytes needs more memory "
                       "than the query has",
                       x->whole.len);
}

static nlt_rc_t
add_range(nlt_rx_parser_t *x, nlt_rx_class_t *c, uint32_t lo, uint32_t hi)
{
    if (c->n == c->cap) {
        size_t cap = c->cap > 0 ? c->cap * 2 : 4;
        void *v = nlt_pool_grow(x->pool, c->v, c->cap * sizeof(*c->v),
                                cap * sizeof(*c->v));

        if (v == NULL) {
            return no_memory(x);
        }
        c->v = v;
        c->cap = cap;
    }
    c->v[c->n++] = (nlt_rx_range_t){lo, hi};
    return NLT_OK;
}

/* A named set of ASCII characters, pairs of first and last. */
typedef struct {
    char name[8];
    char pairs[12];
} ascii_set_t;

static const ascii_set_t posix_sets[] = {
    {"alnum", "09AZaz"},   {"alpha", "AZaz"},
    {"ascii", ""}, /* begins with NUL: see set_bits() */
    {"blank", "\t\t  "},   {"cntrl", ""},
    {"digit", "09"},       {"graph", "!~"},
    {"lower", "az"},       {"print", " ~"},
    {"punct", "!/:@[`{~"}, {"space", "\t\r  "},
    {"upper", "AZ"},       {"word", "09AZ__az"},
    {"xdigit", "09AFaf"},
};

static const ascii_set_t perl_digit = {"d", "09"};
static const ascii_set_t perl_space = {"s", "\t\n\f\r  "};
static const ascii_set_t perl_word = {"w", "09AZ__az"};

/* The set as bits. */
static void
set_bits(const ascii_set_t *set, bool fold, bool bits[128])
{
    memset(bits, 0, 128);
    if (strcmp(set->name, "ascii") == 0) {
        memset(bits, 1, 128);
    } else if (strcmp(set->name, "cntrl") == 0) {
        memset(bits, 1, 32);
        bits[127] = true;
    }
    for (const char *p = set->pairs; *p != '\0'; p += 2) {
        for (int ch = p[0]; ch <= p[1]; ch++) {
            bits[ch] = true;
        }
    }
    for (int ch = 'a'; fold && ch <= 'z'; ch++) {
        bool either = bits[ch] || bits[ch - 32];

        bits[ch] = either;
        bits[ch - 32] = either;
    }
}

/*
 * Adds an ASCII set or what is outside of it.  Without regard to case the
 * set takes in U+017F, which folds to s, and U+212A, which folds to k, and
 * its complement leaves them out.
 */
static nlt_rc_t
add_set(nlt_rx_parser_t *x, nlt_rx_class_t *c, const ascii_set_t *set,
        bool negated)
{
    bool bits[128];
    int from = -1;

    set_bits(set, c->fold, bits);
    for (int ch = 0; ch <= 128; ch++) {
        bool in = ch < 128 && bits[ch] != negated;

        if (in && from < 0) {
            from = ch;
        } else if (!in && from >= 0) {
            NLT_RX_TRY(add_range(x, c, (uint32_t) from, (uint32_t) ch - 1));
            from = -1;
        }
    }
    if (!negated) {
        return NLT_OK;
    }
    bool has_s = c->fold && bits['s'], has_k = c->fold && bits['k'];

    NLT_RX_TRY(add_range(x, c, 128, has_s ? 0x17e : 0x17f));
    NLT_RX_TRY(add_range(x, c, 0x180, has_k ? 0x2129 : 0x212a));
    return add_range(x, c, 0x212b, NLT_RX_RUNE_MAX);
}

/* ---- \p{..} ---- */

static const char categories[] = " C Cc Cf Cn Co Cs L LC Ll Lm Lo Lt Lu M Mc "
                                 "Me Mn N Nd Nl No P Pc Pd Pe Pf Pi "
                                 "Po Ps S Sc Sk Sm So Z Zl Zp Zs ";

static const char scripts[] =
    "  Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese "
    "Bamum Bassa_Vah Batak Bengali Bhaiksuki Bopomofo Brahmi Braille "
    "Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian Chakma "
    "Cham Cherokee Chorasmian Common Coptic Cuneiform Cypriot Cypro_Minoan "
    "Cyrillic Deseret Devanagari Dives_Akuru Dogra Duployan "
    "Egyptian_Hieroglyphs Elbasan Elymaic Ethiopic Georgian Glagolitic "
    "Gothic Grantha Greek Gujarati Gunjala_Gondi Gurmukhi Han Hangul "
    "Hanifi_Rohingya Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic "
    "Inherited Inscriptional_Pahlavi Inscriptional_Parthian Javanese "
    "Kaithi Kannada Katakana Kayah_Li Kharoshthi Khitan_Small_Script Khmer "
    "Khojki Khudawadi Lao Latin Lepcha Limbu Linear_A Linear_B Lisu Lycian "
    "Lydian Mahajani Makasar Malayalam Mandaic Manichaean Marchen "
    "Masaram_Gondi Medefaidrin Meetei_Mayek Mende_Kikakui Meroitic_Cursive "
    "Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani Myanmar "
    "Nabataean Nandinagari New_Tai_Lue Newa Nko Nushu "
    "Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Old_Hungarian Old_Italic "
    "Old_North_Arabian Old_Permic Old_Persian Old_Sogdian "
    "Old_South_Arabian Old_Turkic Old_Uyghur Oriya Osage Osmanya "
    "Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa Phoenician "
    "Psalter_Pahlavi Rejang Runic Samaritan Saurashtra Sharada Shavian "
    "Siddham SignWriting Sinhala Sogdian Sora_Sompeng Soyombo Sundanese "
    "Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri "
    "Tamil Tangsa Tangut Telugu Thaana Thai Tibetan Tifinagh Tirhuta Toto "
    "Ugaritic Vai Vithkuqi Wancho Warang_Citi Yezidi Yi Zanabazar_Square ";

/* Is the name a word of the list? */
static bool
in_list(const char *list, nlt_str_t name)
{
    char word[40];

    if (name.len == 0 || name.len > sizeof(word) - 3
        || memchr(name.data, ' ', name.len) != NULL
        || memchr(name.data, '\0', name.len) != NULL) {
        return false;
    }
    word[0] = ' ';
    memcpy(word + 1, name.data, name.len);
    memcpy(word + 1 + name.len, " ", 2);
    return strstr(list, word) != NULL;
}

static nlt_rc_t
add_property(nlt_rx_parser_t *x, nlt_rx_class_t *c, nlt_str_t name,
             bool negated)
{
    nlt_buf_t *b = &c->props;
    const char *p = negated ? "\\P{" : "\\p{";

    if (nlt_str_eq(name, NLT_STR("Any"))) {
        return negated ? NLT_OK : add_range(x, c, 0, NLT_RX_RUNE_MAX);
    }
    if (!negated && nlt_str_eq(name, NLT_STR("C"))) {
        /* PCRE2 counts unassigned code points as C, Go does not. */
        nlt_buf_add_c(b, "\\p{Cc}\\p{Cf}\\p{Co}");
    } else if (nlt_str_eq(name, NLT_STR("LC"))) {
        nlt_buf_add_c(b, negated ? "\\P{L&}" : "\\p{L&}");
    } else {
        nlt_buf_add_c(b, p);
        if (!in_list(categories, name)) {
            nlt_buf_add_c(b, "sc:");
        }
        nlt_buf_add_str(b, name);
        nlt_buf_add_byte(b, '}');
    }
    return b->rc == NLT_OK ? NLT_OK : no_memory(x);
}

/* \pN, \p{Name}, \P.., with ^ in front of the name; x->p at the backslash. */
static nlt_rc_t
parse_property(nlt_rx_parser_t *x, nlt_rx_class_t *c)
{
    const char *from = x->p;
    bool negated = from[1] == 'P';
    nlt_str_t name;
    uint32_t rune;

    x->p += 2;
    if (x->p == x->end) {
        return nlt_rx_fail(x, "invalid character class range", from, x->p);
    }
    NLT_RX_TRY(nlt_rx_next_rune(x, &rune));
    if (rune != '{') {
        name = (nlt_str_t){(size_t) (x->p - from) - 2, from + 2};
    } else {
        nlt_str_t rest = {(size_t) (x->end - from), from};
        const char *close = memchr(from, '}', rest.len);

        if (close == NULL && !nlt_utf8_valid(rest)) {
            return nlt_rx_fail(x, "invalid UTF-8", from, x->end);
        }
        if (close == NULL) {
            return nlt_rx_fail(x, "invalid character class range", from,
                               x->end);
        }
        name = (nlt_str_t){(size_t) (close - from) - 3, from + 3};
        x->p = close + 1;
        if (!nlt_utf8_valid(name)) {
            return nlt_rx_fail(x, "invalid UTF-8", name.data, close);
        }
    }
    if (name.len > 0 && name.data[0] == '^') {
        negated = !negated;
        name.data++;
        name.len--;
    }
    if (!nlt_str_eq(name, NLT_STR("Any")) && !in_list(categories, name)
        && !in_list(scripts, name)) {
        return nlt_rx_fail(x, "invalid character class range", from, x->p);
    }
    return add_property(x, c, name, negated);
}

nlt_rc_t
nlt_rx_parse_class_escape(nlt_rx_parser_t *x, nlt_rx_class_t *c)
{
    const ascii_set_t *set;
    bool negated;

    if (x->end - x->p < 2 || x->p[0] != '\\') {
        return NLT_EOF;
    }
    switch (x->p[1]) {
    case 'p':
    case 'P':
        return parse_property(x, c);
    case 'd':
    case 'D':
        set = &perl_digit;
        break;
    case 's':
    case 'S':
        set = &perl_space;
        break;
    case 'w':
    case 'W':
        set = &perl_word;
        break;
    default:
        return NLT_EOF;
    }
    negated = x->p[1] < 'a';
    x->p += 2;
    return add_set(x, c, set, negated);
}

/* [:name:] or [:^name:] at x->p: NLT_EOF if it is not closed. */
static nlt_rc_t
parse_posix(nlt_rx_parser_t *x, nlt_rx_class_t *c)
{
    const char *from = x->p;
    const char *close = from + 2;
    bool negated;

    while (x->end - close >= 2 && !(close[0] == ':' && close[1] == ']')) {
        close++;
    }
    if (x->end - close < 2) {
        return NLT_EOF;
    }
    nlt_str_t name = {(size_t) (close - from) - 2, from + 2};

    negated = name.len > 0 && name.data[0] == '^';
    if (negated) {
        name.data++;
        name.len--;
    }
    for (size_t i = 0; i < NLT_COUNT(posix_sets); i++) {
        if (name.len == strlen(posix_sets[i].name)
            && memcmp(name.data, posix_sets[i].name, name.len) == 0) {
            x->p = close + 2;
            return add_set(x, c, &posix_sets[i], negated);
        }
    }
    return nlt_rx_fail(x, "invalid character class range", from, close + 2);
}

/* ---- escapes ---- */

static int
hex_value(uint32_t c)
{
    if (c >= '0' && c <= '9') {
        return (int) c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? (int) c - 'a' + 10 : -1;
}

/* What follows \x; false if it is not hexadecimal. */
static nlt_rc_t
parse_hex(nlt_rx_parser_t *x, uint32_t *rune, bool *ok)
{
    uint32_t c, v = 0;
    unsigned digits = 0;

    *ok = false;
    if (x->p == x->end) {
        return NLT_OK;
    }
    NLT_RX_TRY(nlt_rx_next_rune(x, &c));
    if (c != '{') {
        int high = hex_value(c), low = -1;

        if (x->p < x->end) {
            NLT_RX_TRY(nlt_rx_next_rune(x, &c));
            low = hex_value(c);
        }
        *ok = high >= 0 && low >= 0;
        *rune = *ok ? (uint32_t) (high * 16 + low) : 0;
        return NLT_OK;
    }
    while (x->p < x->end) {
        NLT_RX_TRY(nlt_rx_next_rune(x, &c));
        if (c == '}') {
            *ok = digits > 0;
            *rune = v;
            return NLT_OK;
        }
        if (hex_value(c) < 0) {
            return NLT_OK;
        }
        v = v * 16 + (uint32_t) hex_value(c);
        if (v > NLT_RX_RUNE_MAX) {
            return NLT_OK;
        }
        digits = 1;
    }
    return NLT_OK;
}

nlt_rc_t
nlt_rx_parse_escape(nlt_rx_parser_t *x, uint32_t *rune)
{
    static const char letters[] = "a\af\fn\nr\rt\tv\v";
    const char *from = x->p++;
    uint32_t c;
    bool ok;

    if (x->p == x->end) {
        return nlt_rx_fail(x, "trailing backslash at end of expression",
                           x->end, x->end);
    }
    NLT_RX_TRY(nlt_rx_next_rune(x, &c));
    if (c == 'x') {
        NLT_RX_TRY(parse_hex(x, rune, &ok));
        if (ok) {
            return NLT_OK;
        }
    } else if (c >= '0' && c <= '7') {
        /* A single digit but 0 would be a backreference. */
        if (c == '0' || (x->p < x->end && *x->p >= '0' && *x->p <= '7')) {
            *rune = c - '0';
            for (int i = 1; i < 3 && x->p < x->end; i++) {
                if (*x->p < '0' || *x->p > '7') {
                    break;
                }
                *rune = *rune * 8 + (uint32_t) (*x->p++ - '0');
            }
            return NLT_OK;
        }
    } else {
        for (const char *l = letters; *l != '\0'; l += 2) {
            if (c == (uint32_t) *l) {
                *rune = (uint32_t) l[1];
                return NLT_OK;
            }
        }
        bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z')
                     || (c >= 'a' && c <= 'z');

        if (c < 0x80 && !alnum) {
            *rune = c;
            return NLT_OK;
        }
    }
    return nlt_rx_fail(x, "invalid escape sequence", from, x->p);
}

/* One character of a class; bracket is where the class began. */
static nlt_rc_t
parse_class_rune(nlt_rx_parser_t *x, const char *bracket, uint32_t *rune)
{
    if (x->p == x->end) {
        return nlt_rx_fail(x, "missing closing ]", bracket, x->end);
    }
    if (*x->p == '\\') {
        return nlt_rx_parse_escape(x, rune);
    }
    return nlt_rx_next_rune(x, rune);
}

nlt_rc_t
nlt_rx_parse_class(nlt_rx_parser_t *x, nlt_rx_class_t **out)
{
    const char *bracket = x->p++;
    nlt_rx_class_t *c = nlt_rx_class_new(x);
    bool first = true;

    if (c == NULL) {
        return no_memory(x);
    }
    if (x->p < x->end && *x->p == '^') {
        c->negated = true;
        x->p++;
    }
    while (x->p == x->end || *x->p != ']' || first) {
        const char *from = x->p;
        uint32_t lo, hi;
        nlt_rc_t rc = NLT_EOF;

        first = false;
        if (x->end - x->p > 2 && x->p[0] == '[' && x->p[1] == ':') {
            rc = parse_posix(x, c);
        }
        if (rc == NLT_EOF) {
            rc = nlt_rx_parse_class_escape(x, c);
        }
        if (rc == NLT_OK) {
            continue;
        }
        if (rc != NLT_EOF) {
            return rc;
        }
        NLT_RX_TRY(parse_class_rune(x, bracket, &lo));
        hi = lo;
        /* In [a-] the minus is itself. */
        if (x->end - x->p >= 2 && x->p[0] == '-' && x->p[1] != ']') {
            x->p++;
            NLT_RX_TRY(parse_class_rune(x, bracket, &hi));
            if (hi < lo) {
                return nlt_rx_fail(x, "invalid character class range", from,
                                   x->p);
            }
        }
        NLT_RX_TRY(add_range(x, c, lo, hi));
    }
    x->p++;
    *out = c;
    return NLT_OK;
}
