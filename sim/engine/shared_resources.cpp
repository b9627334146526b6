#include "sim/engine/shared_resources.hpp"

#include <algorithm>
#include <cmath>
#include <compare>
#include <numeric>

namespace orrery {

namespace {

struct User {
  std::int32_t communication;
  double weight;
  double proportion;  ///< of the weight to the first user's, rounded
};

/// Users of every link that is loaded at all, in flat arrays.
struct LinkUsers {
  std::vector<size_t> begin;
  std::vector<User> users;
  std::span<const User> of(size_t link) const {
    return std::span(users).subspan(begin[link], begin[link + 1] - begin[link]);
  }
};

/// 40 bits of a number's mantissa: sums of weights in another order compare equal.
double rounded(double value) {
  int exponent = 0;
  const double mantissa = std::frexp(value, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(mantissa, 40)), exponent - 40);
}

LinkUsers users_by_link(const std::vector<std::vector<LinkLoad>>& footprints, size_t links) {
  LinkUsers table;
  table.begin.assign(links + 1, 0);
  for (const auto& footprint : footprints) {
    for (const LinkLoad& load : footprint) {
      ++table.begin[static_cast<size_t>(load.link) + 1];
    }
  }
  std::partial_sum(table.begin.begin(), table.begin.end(), table.begin.begin());
  table.users.resize(table.begin.back());
  std::vector<size_t> place(table.begin.begin(), table.begin.end() - 1);
  for (size_t communication = 0; communication < footprints.size(); ++communication) {
    for (const LinkLoad& load : footprints[communication]) {
      const auto link = static_cast<size_t>(load.link);
      const size_t at = place[link]++;
      const double first = at == table.begin[link] ? load.weight : table.users[table.begin[link]].weight;
      table.users[at] = {static_cast<std::int32_t>(communication), load.weight, rounded(load.weight / first)};
    }
  }
  return table;
}

/// Orders links by who uses them in which proportions, whatever the absolute weights.
std::strong_ordering compare_users(std::span<const User> a, std::span<const User> b) {
  if (const auto by_size = a.size() <=> b.size(); by_size != 0) {
    return by_size;
  }
  for (size_t i = 0; i < a.size(); ++i) {
    if (const auto by_communication = a[i].communication <=> b[i].communication; by_communication != 0) {
      return by_communication;
    }
    if (a[i].proportion != b[i].proportion) {
      return a[i].proportion < b[i].proportion ? std::strong_ordering::less : std::strong_ordering::greater;
    }
  }
  return std::strong_ordering::equal;
}

/// Whole numbers in the proportions of the weights, and the weight of one.
double whole_proportions(std::span<const User> users, std::vector<std::int32_t>& multiplicities) {
  constexpr int kLargestDenominator = 64;
  constexpr double kLargestMultiplicity = 1024.0;
  constexpr double kRoundedTo = 512.0;
  constexpr double kExact = 1e-9;
  const auto [least, most] = std::minmax_element(
      users.begin(), users.end(), [](const User& a, const User& b) { return a.weight < b.weight; });
  double unit = most->weight / kRoundedTo;
  for (int denominator = 1; denominator <= kLargestDenominator; ++denominator) {
    const double candidate = least->weight / denominator;
    const bool exact = std::all_of(users.begin(), users.end(), [candidate](const User& user) {
      const double count = user.weight / candidate;
      return count <= kLargestMultiplicity && std::abs(count - std::nearbyint(count)) <= kExact * count;
    });
    if (exact) {
      unit = candidate;
      break;
    }
  }
  multiplicities.clear();
  for (const User& user : users) {
    multiplicities.push_back(std::max(1, static_cast<std::int32_t>(std::lround(user.weight / unit))));
  }
  return unit;
}

}  // namespace

SharedResources::SharedResources(const std::vector<std::vector<LinkLoad>>& footprints,
                                 std::span<const double> capacity) {
  const LinkUsers table = users_by_link(footprints, capacity.size());
  std::vector<size_t> loaded;
  for (size_t link = 0; link < capacity.size(); ++link) {
    if (!table.of(link).empty()) {
      loaded.push_back(link);
    }
  }
  // The tightest of each class first: its capacity for one unit of the first user.
  const auto tightness = [&](size_t link) { return capacity[link] / table.of(link)[0].weight; };
  std::sort(loaded.begin(), loaded.end(), [&](size_t a, size_t b) {
    const auto order = compare_users(table.of(a), table.of(b));
    if (order != 0) {
      return order < 0;
    }
    return tightness(a) != tightness(b) ? tightness(a) < tightness(b) : a < b;
  });
  std::vector<size_t> tightest;
  for (const size_t link : loaded) {
    if (tightest.empty() || compare_users(table.of(tightest.back()), table.of(link)) != 0) {
      tightest.push_back(link);
    }
  }

  // A link of one communication alone is looser than another of its links with more load per capacity,
  // whoever else is on that one: it can never bind.
  std::vector<double> most_load(footprints.size(), 0.0);
  for (const size_t link : tightest) {
    for (const User& user : table.of(link)) {
      double& most = most_load[static_cast<size_t>(user.communication)];
      most = std::max(most, user.weight / capacity[link]);
    }
  }
  std::erase_if(tightest, [&](size_t link) {
    const auto users = table.of(link);
    return users.size() == 1 &&
           users[0].weight / capacity[link] < most_load[static_cast<size_t>(users[0].communication)];
  });

  shares_begin_.assign(footprints.size() + 1, 0);
  for (const size_t link : tightest) {
    for (const User& user : table.of(link)) ++shares_begin_[static_cast<size_t>(user.communication) + 1];
  }
  std::partial_sum(shares_begin_.begin(), shares_begin_.end(), shares_begin_.begin());
  shares_.resize(shares_begin_.back());
  std::vector<size_t> place(shares_begin_.begin(), shares_begin_.end() - 1);
  std::vector<std::int32_t> multiplicities;
  for (const size_t link : tightest) {
    const auto users = table.of(link);
    const auto resource = static_cast<std::int32_t>(resources_.size());
    const double unit = whole_proportions(users, multiplicities);
    resources_.push_back(
        {capacity[link] / users[0].weight, capacity[link] / unit, static_cast<LinkId>(link)});
    for (size_t i = 0; i < users.size(); ++i) {
      shares_[place[static_cast<size_t>(users[i].communication)]++] = {
          .resource = resource,
          .multiplicity = multiplicities[i],
          .weight = users[i].weight / users[0].weight};
    }
  }
}

}  // namespace orrery
