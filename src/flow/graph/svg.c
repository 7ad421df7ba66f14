/* svg.c - the graph as a picture.  Each panel (before the layers, one layer of each kind, behind the layers) is laid out by rank: an operator
 * stands below everything it reads, long edges get places of their own, and places are moved towards their neighbours until they rest
 * (Sugiyama, Tagawa, Toda 1981). */
#include "flow/graph.h"
#include "flow/report/page.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define BOX_W     200.0
#define FITS      30 /* characters of small text in a box; longer text is drawn narrower */
#define BOX_H     42.0
#define THIN_W    16.0 /* where a long edge passes */
#define GAP_X     16.0
#define GAP_Y     26.0
#define PANEL_PAD 22.0
#define TITLE_H   30.0
#define MAX_SPOTS 512
#define MAX_EDGES 1024
#define MAX_RANKS 64
#define SWEEPS    24
#define LAYERS_SHOWN 4 /* panels; a model with more kinds says how many are left out */

typedef struct spot { /* a place in a panel */
    const hone_node *n; /* NULL: an edge passes, or the panel's input when rank is 0 */
    int              rank;
    double           x; /* centre */
} spot;

typedef struct panel {
    char   title[160];
    spot   spots[MAX_SPOTS];
    size_t n_spots;
    struct { uint16_t from, to; } edges[MAX_EDGES]; /* of spots in neighbouring ranks */
    size_t   n_edges;
    uint16_t order[MAX_RANKS][MAX_SPOTS]; /* spots of a rank, left to right */
    size_t   count[MAX_RANKS];
    int      n_ranks;
    double   left, right, height, x, y; /* extent of the spots; where the panel stands */
} panel;

static bool is_input(const hone_node *n) { return n->op == HONE_OP_IDS || n->op == HONE_OP_MASK || n->op == HONE_OP_POSITIONS || n->op == HONE_OP_TYPES; }
static double width_of(const spot *s) { return s->n || s->rank == 0 ? BOX_W : THIN_W; }

static uint16_t add_spot(panel *p, const hone_node *n, int rank)
{
    if (p->n_spots == MAX_SPOTS || rank >= MAX_RANKS) return 0;
    p->spots[p->n_spots] = (spot){ n, rank, 0 };
    p->order[rank][p->count[rank]++] = (uint16_t)p->n_spots;
    if (rank >= p->n_ranks) p->n_ranks = rank + 1;
    return (uint16_t)p->n_spots++;
}

/* An edge over several ranks passes through a thin spot in each rank between. */
static void add_edge(panel *p, uint16_t from, uint16_t to)
{
    for (int r = p->spots[from].rank + 1; r <= p->spots[to].rank && p->n_edges < MAX_EDGES; r++) {
        uint16_t next = r == p->spots[to].rank ? to : add_spot(p, NULL, r);
        p->edges[p->n_edges].from = from;
        p->edges[p->n_edges++].to = next;
        from = next;
    }
}

/* What a node of the panel reads, as a spot: of the panel, or the panel's input.  Token ids and the like are drawn in the first panel only. */
static bool source_of(const panel *p, const hone_graph *g, uint32_t in, size_t n_real, uint16_t *out)
{
    for (size_t i = 0; i < n_real; i++)
        if (p->spots[i].n == &g->nodes[in]) {
            *out = (uint16_t)i;
            return true;
        }
    *out = 0;
    return !is_input(&g->nodes[in]) && p->spots[0].rank == 0 && !p->spots[0].n;
}

static void place_nodes(panel *p, const hone_graph *g, int32_t layer, size_t begin, size_t end)
{
    uint16_t s;
    for (size_t i = begin; i < end; i++) {
        const hone_node *n = &g->nodes[i];
        int              rank = 0;
        if (n->layer != layer || (is_input(n) && n->op != HONE_OP_IDS)) continue;
        for (uint32_t k = 0; k < n->n_in; k++)
            if (source_of(p, g, n->in[k], p->n_spots, &s) && p->spots[s].rank >= rank) rank = p->spots[s].rank + 1;
        (void)add_spot(p, n, rank);
    }
    size_t n_real = p->n_spots;
    for (size_t i = 0; i < n_real; i++)
        for (uint32_t k = 0; p->spots[i].n && k < p->spots[i].n->n_in; k++)
            if (source_of(p, g, p->spots[i].n->in[k], n_real, &s)) add_edge(p, s, (uint16_t)i);
}

/* Mean place of a spot's neighbours above (up) or below; its own where it has none. */
static double wanted(const panel *p, uint16_t s, bool up)
{
    double sum = 0;
    int    n = 0;
    for (size_t i = 0; i < p->n_edges; i++) {
        if ((up ? p->edges[i].to : p->edges[i].from) != s) continue;
        sum += p->spots[up ? p->edges[i].from : p->edges[i].to].x;
        n++;
    }
    return n ? sum / n : p->spots[s].x;
}

/* Orders a rank by what its spots want, then moves them apart, and back so that the whole wants nothing. */
static void settle(panel *p, int rank, bool up, bool reorder)
{
    double    want[MAX_SPOTS], off = 0, at = 0;
    uint16_t *o = p->order[rank];
    size_t    n = p->count[rank];
    for (size_t i = 0; i < n; i++) want[i] = wanted(p, o[i], up);
    for (size_t i = 1; reorder && i < n; i++) /* insertion sort: stable, and a rank has few spots */
        for (size_t k = i; k > 0 && want[k] < want[k - 1]; k--) {
            double   w = want[k];
            uint16_t s = o[k];
            want[k] = want[k - 1];
            want[k - 1] = w;
            o[k] = o[k - 1];
            o[k - 1] = s;
        }
    for (size_t i = 0; i < n; i++) {
        double half = width_of(&p->spots[o[i]]) / 2;
        double least = i ? at + GAP_X + half : want[0];
        p->spots[o[i]].x = want[i] > least ? want[i] : least;
        at = p->spots[o[i]].x + half;
        off += p->spots[o[i]].x - want[i];
    }
    for (size_t i = 0; i < n; i++) p->spots[o[i]].x -= off / (double)n;
}

static void lay_out(panel *p)
{
    for (int r = 0; r < p->n_ranks; r++)
        for (size_t i = 0; i < p->count[r]; i++) p->spots[p->order[r][i]].x = (double)i * (BOX_W + GAP_X);
    for (int k = 0; k < SWEEPS; k++) {
        bool up = k % 2 == 0;
        for (int r = 0; r < p->n_ranks; r++) settle(p, up ? r : p->n_ranks - 1 - r, up, k < SWEEPS / 2);
    }
    p->left = p->right = p->n_spots ? p->spots[0].x : 0;
    for (size_t i = 0; i < p->n_spots; i++) {
        double half = width_of(&p->spots[i]) / 2;
        if (p->spots[i].x - half < p->left) p->left = p->spots[i].x - half;
        if (p->spots[i].x + half > p->right) p->right = p->spots[i].x + half;
    }
    p->height = TITLE_H + 2 * PANEL_PAD + p->n_ranks * (BOX_H + GAP_Y) - GAP_Y;
}

/* ---- drawing ---- */

static double panel_width(const panel *p)
{
    double titles = 7.0 * (double)strlen(p->title), boxes = p->right - p->left;
    return (boxes > titles ? boxes : titles) + 2 * PANEL_PAD;
}
static double spot_x(const panel *p, const spot *s) { return p->x + panel_width(p) / 2 + s->x - (p->left + p->right) / 2; }
static double spot_y(const panel *p, const spot *s) { return p->y + TITLE_H + PANEL_PAD + s->rank * (BOX_H + GAP_Y); }

static const char *class_of(const hone_node *n)
{
    switch (n->op) {
    case HONE_OP_LINEAR:
    case HONE_OP_EMBED: return "weights";
    case HONE_OP_ATTENTION:
    case HONE_OP_EXPERTS: return "big";
    case HONE_OP_NORM: return "norm";
    default: return "plain";
    }
}

static void draw_edges(hone_text *t, const panel *p)
{
    for (size_t i = 0; i < p->n_edges; i++) {
        const spot *a = &p->spots[p->edges[i].from], *b = &p->spots[p->edges[i].to];
        double      x1 = spot_x(p, a), y1 = spot_y(p, a) + BOX_H, x2 = spot_x(p, b), y2 = spot_y(p, b), bend = (y2 - y1) / 2;
        hone_text_addf(t, "<path class=\"edge\" d=\"M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f", x1, y1, x1, y1 + bend, x2, y2 - bend, x2, y2);
        if (b->n) hone_text_add(t, "\" marker-end=\"url(#to)\"/>");
        else hone_text_addf(t, "V%.1f\"/>", y2 + BOX_H); /* straight through the rank */
    }
}

static void draw_spot(hone_text *t, const panel *p, const spot *s)
{
    char   detail[160], shape[96];
    double x = spot_x(p, s), y = spot_y(p, s);
    if (!s->n && s->rank > 0) return;
    hone_text_addf(t, "<g><rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.0f\" height=\"%.0f\" rx=\"7\"/>", s->n ? class_of(s->n) : "plain",
                   x - BOX_W / 2, y, BOX_W, BOX_H);
    if (!s->n) {
        hone_text_addf(t, "<text x=\"%.1f\" y=\"%.1f\" class=\"soft\">from before</text></g>", x, y + BOX_H / 2 + 4);
        return;
    }
    const char *name = s->n->name;
    if (s->n->layer >= 0 && strncmp(name, "layers.", 7) == 0 && strchr(name + 7, '.')) name = strchr(name + 7, '.') + 1;
    (void)hone_graph_detail(s->n, detail, sizeof detail);
    hone_text_addf(t, "<title>%s: ", hone_op_name(s->n->op));
    hone_page_text(t, hone_graph_shape(s->n, shape, sizeof shape));
    if (*detail) hone_text_add(t, ", ");
    hone_page_text(t, detail);
    hone_text_addf(t, "</title><text x=\"%.1f\" y=\"%.1f\" class=\"name\">", x, y + 17);
    hone_page_text(t, name);
    hone_text_addf(t, "</text><text x=\"%.1f\" y=\"%.1f\" class=\"soft\"", x, y + 32);
    if (strlen(detail) > FITS) hone_text_addf(t, " textLength=\"%.0f\" lengthAdjust=\"spacingAndGlyphs\"", BOX_W - 8);
    hone_text_add(t, ">");
    if (s->n->weight && !*detail && s->n->weight->n_dims == 2)
        hone_text_addf(t, "%llu x %llu", (unsigned long long)s->n->weight->dims[0], (unsigned long long)s->n->weight->dims[1]);
    else if (*detail) hone_page_text(t, detail);
    else hone_text_add(t, hone_op_name(s->n->op));
    hone_text_add(t, "</text></g>");
}

static void draw_panel(hone_text *t, const panel *p)
{
    hone_text_addf(t, "<rect class=\"panel\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"12\"/>", p->x, p->y, panel_width(p), p->height);
    hone_text_addf(t, "<text x=\"%.1f\" y=\"%.1f\" class=\"title\">", p->x + panel_width(p) / 2, p->y + 26);
    hone_page_text(t, p->title);
    hone_text_add(t, "</text>");
    draw_edges(t, p);
    for (size_t i = 0; i < p->n_spots; i++) draw_spot(t, p, &p->spots[i]);
}

static const char STYLE[] =
    ":root{--bg:#fbfaf8;--card:#fff;--ink:#1d2129;--soft:#5c6470;--line:#cfccc4;--w:#d7ecec;--b:#f6e3cf;--n:#e8e4f4}"
    "@media(prefers-color-scheme:dark){:root{--bg:#14171b;--card:#1c2026;--ink:#e8e9eb;--soft:#a0a7b2;--line:#4a525e;--w:#173c3c;--b:#46301c;--n:#2f2a45}}"
    "text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif;fill:var(--ink);text-anchor:middle}.soft{fill:var(--soft);font-size:11px}"
    ".name{font-weight:600}.title{font-size:14px;font-weight:600}.panel{fill:var(--card);stroke:var(--line)}.edge{fill:none;stroke:var(--soft);stroke-width:1.2}"
    ".plain{fill:var(--bg);stroke:var(--line)}.weights{fill:var(--w);stroke:var(--line)}.big{fill:var(--b);stroke:var(--line)}.norm{fill:var(--n);stroke:var(--line)}"
    ".bg{fill:var(--bg)}.arrow{fill:var(--soft)}";

/* Adds to the text that ends at *at; what does not fit is cut. */
static void HONE_PRINTF(4, 5) title_add(char *out, size_t cap, size_t *at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(out + *at, cap - *at, fmt, ap);
    va_end(ap);
    if (n > 0) *at = (size_t)n < cap - *at ? *at + (size_t)n : cap - 1;
}

/* "layers 0, 1, 2, 3, 4 and 6 (6 of 7)" */
static void kind_title(const uint32_t *kinds, uint32_t n_layers, uint32_t kind, char *out, size_t cap)
{
    uint32_t members = 0, shown = 0;
    size_t   at = 0;
    for (uint32_t i = 0; i < n_layers; i++) members += kinds[i] == kind;
    title_add(out, cap, &at, members == 1 ? "layer" : "layers");
    for (uint32_t i = 0; i < n_layers; i++) {
        uint32_t last = i;
        if (kinds[i] != kind) continue;
        while (last + 1 < n_layers && kinds[last + 1] == kind) last++;
        if (shown++ == 6) {
            title_add(out, cap, &at, ", ...");
            break;
        }
        title_add(out, cap, &at, "%s %u", shown > 1 ? "," : "", i);
        if (last > i) title_add(out, cap, &at, "-%u", last);
        i = last;
    }
    if (members < n_layers) title_add(out, cap, &at, " (%u of %u)", members, n_layers);
}

static panel *new_panel(hone_arena *a, const hone_graph *g, const char *title, int32_t layer, size_t begin, size_t end, bool input)
{
    panel *p = HONE_ARENA_NEW(a, panel, 1);
    if (!p) return NULL;
    (void)snprintf(p->title, sizeof p->title, "%s", title);
    if (input) (void)add_spot(p, NULL, 0);
    place_nodes(p, g, layer, begin, end);
    lay_out(p);
    return p;
}

/* One layer of each kind, side by side. */
static hone_code layer_panels(const hone_graph *g, hone_arena *a, panel *out[LAYERS_SHOWN], uint32_t *n, uint32_t *left_out, hone_err *err)
{
    uint32_t *kinds, n_kinds, layer = 0;
    HONE_TRY(hone_graph_kinds(g, a, &kinds, &n_kinds, err));
    *n = n_kinds < LAYERS_SHOWN ? n_kinds : LAYERS_SHOWN;
    *left_out = n_kinds - *n;
    for (uint32_t k = 0; k < *n; k++, layer = 0) {
        char title[160];
        while (kinds[layer] != k) layer++;
        kind_title(kinds, g->model->facts.n_layers, k, title, sizeof title);
        out[k] = new_panel(a, g, title, (int32_t)layer, 0, g->n_nodes, true);
        if (!out[k]) return HONE_NOMEM(err, "the picture");
    }
    return HONE_OK;
}

static void draw(hone_text *t, panel *first, panel *const *layers, uint32_t n, uint32_t left_out, panel *last, const char *title)
{
    double row = -2 * PANEL_PAD, tallest = 0, y = 56, width;
    for (uint32_t k = 0; k < n; k++) {
        row += panel_width(layers[k]) + 2 * PANEL_PAD;
        if (layers[k]->height > tallest) tallest = layers[k]->height;
    }
    width = row > panel_width(first) ? row : panel_width(first);
    if (panel_width(last) > width) width = panel_width(last);
    width += 2 * PANEL_PAD;
    first->x = (width - panel_width(first)) / 2;
    first->y = y;
    y += first->height + GAP_Y;
    double x = (width - row) / 2;
    for (uint32_t k = 0; k < n; k++) {
        layers[k]->x = x;
        layers[k]->y = y;
        x += panel_width(layers[k]) + 2 * PANEL_PAD;
    }
    y += tallest + GAP_Y;
    last->x = (width - panel_width(last)) / 2;
    last->y = y;
    y += last->height + PANEL_PAD;
    hone_text_addf(t, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" height=\"%.0f\" role=\"img\"><style>%s</style>", width, y,
                   width, y, STYLE);
    hone_text_add(t, "<defs><marker id=\"to\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">"
                     "<path class=\"arrow\" d=\"M0 0L8 4L0 8z\"/></marker></defs><rect class=\"bg\" width=\"100%\" height=\"100%\"/>");
    hone_text_addf(t, "<text class=\"title\" x=\"%.1f\" y=\"34\">", width / 2);
    hone_page_text(t, title);
    if (left_out) hone_text_addf(t, " (%u further kinds of layers are not drawn)", left_out);
    hone_text_add(t, "</text>");
    draw_panel(t, first);
    for (uint32_t k = 0; k < n; k++) draw_panel(t, layers[k]);
    draw_panel(t, last);
    hone_text_add(t, "</svg>\n");
}

hone_code hone_graph_svg(const hone_graph *g, hone_text *out, hone_err *err)
{
    const hone_facts *f = &g->model->facts;
    hone_arena        a = { 0 };
    panel            *layers[LAYERS_SHOWN] = { 0 };
    uint32_t          n = 0, left_out = 0;
    size_t            tail = f->n_layers ? g->layers[f->n_layers - 1] + 1 : g->n_nodes;
    const char       *title = hone_arena_printf(&a, "%s: %u layer%s, %u hidden", f->name && *f->name ? f->name : f->family, f->n_layers, f->n_layers == 1 ? "" : "s", f->hidden);
    hone_code         code = layer_panels(g, &a, layers, &n, &left_out, err);
    panel            *first = code == HONE_OK ? new_panel(&a, g, "before the layers", -1, 0, tail, false) : NULL;
    panel            *last = first ? new_panel(&a, g, f->kind == HONE_KIND_DECODER ? "to the logits" : "to the embedding", -1, tail, g->n_nodes, true) : NULL;
    if (code == HONE_OK && (!title || !last)) code = HONE_NOMEM(err, "the picture");
    if (code == HONE_OK) draw(out, first, layers, n, left_out, last, title);
    if (code == HONE_OK && out->failed) code = HONE_NOMEM(err, "the picture");
    hone_arena_release(&a);
    return code;
}
