#pragma once

#include <span>
#include <vector>

namespace orrery {

/// Rings through nodes at a constant stride have siblings at the nodes between them: by how many nodes each
/// of them is shifted, the ring itself included. Empty where the stride is none, or the nodes do not lie as
/// ranks in mixed radix do.
/// @param all  nodes of the cluster
std::vector<int> sibling_shifts(std::span<const int> nodes, int all);

/// What the fullest cable of a torus carries, in one direction, of rings through nodes, over what each node
/// sends to the next one of its ring, all siblings at once; a ring without a stride counts alone.
/// Routes are the shortest; with `lowest_first` the lowest dimension first, and one way where two are as
/// short, else the lowest or the highest first and both ways, each half. O(nodes of the siblings x hops).
/// @param sizes  of the torus's rings; a ring of two has one cable
/// @param nodes  of one ring, in its order
double fullest_cable(const std::vector<int>& sizes, std::span<const int> nodes, bool lowest_first);

}  // namespace orrery
