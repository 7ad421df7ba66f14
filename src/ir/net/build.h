/* build.h - what a reader of a format needs besides ir/net.h to put a net together. */
#ifndef HONE_IR_NET_BUILD_H
#define HONE_IR_NET_BUILD_H
#include "ir/net.h"

/* Node n reads v as input `slot`, or from a subgraph (HONE_NET_CAPTURE).  False: no memory. */
bool hone_net_use_add(hone_net *net, hone_net_value *v, hone_net_node *n, uint32_t slot);
/* Puts a complete node before `before` (NULL: last). */
void hone_net_node_link(hone_net *net, hone_net_node *n, hone_net_node *before);
/* v, whose tensor is set, is an initializer. */
bool hone_net_constant_list(hone_net *net, hone_net_value *v);
#endif
