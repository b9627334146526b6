#pragma once

#include <span>
#include <vector>

namespace orrery {

/// Rings through nodes at a constant stride, and pairs, have siblings at the nodes beside them: by how many
/// nodes each of them is shifted, the ring itself included. Empty where the stride is none, or the nodes do
/// not lie as ranks in mixed radix do.
/// @param all       nodes of the cluster
/// @param siblings  rings that lie side by side, which begin at a multiple of their number; 0: as many as the
///                  stride has nodes
std::vector<int> sibling_shifts(std::span<const int> nodes, int all, int siblings = 0);

/// What the fullest cable of a torus carries, in one direction, of rings through nodes, over what each node
/// sends to the next one of its ring, all siblings at once; a ring without a stride counts alone.
/// Routes are the shortest. With `lowest_first` they take the lowest dimension first and, where both ways
/// around a ring are as short, one of these; else half takes the lowest and half the highest dimension first,
/// and both ways. O(nodes of the siblings x hops).
/// @param sizes  of the torus's rings; a ring of two has one cable
/// @param nodes  of one ring, in its order
/// @param siblings  as of sibling_shifts()
double fullest_cable(const std::vector<int>& sizes, std::span<const int> nodes, bool lowest_first,
                     int siblings = 0);

}  // namespace orrery
