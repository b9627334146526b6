#include "sim/engine/shared_resources.hpp"

#include <algorithm>
#include <cmath>
#include <compare>
#include <numeric>

#include "sim/engine/tolerances.hpp"

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

/// Finds resources that others imply. Sum over users u of w_r(u) x(u) <= C_r follows from the constraints of
/// resources s, each times a factor f_s, where f_s w_s(u) >= w_r(u) for one s of each u and the f_s C_s add
/// up to at most C_r. Only resources with fewer users are tried, so that none implies itself; the one first
/// that has the most of the users for its capacity.
class ImpliedResources {
 public:
  ImpliedResources(const SharedResources& all, const LinkUsers& table, size_t communications)
      : all_(all), table_(table), weight_left_(communications, 0.0) {}

  bool implied(std::int32_t resource) {
    const auto users = users_of(resource);
    for (const User& user : users) weight_of(user) = user.weight / users[0].weight;
    const double capacity = all_.resources()[static_cast<size_t>(resource)].capacity;
    double left = capacity * (1.0 + kRounding);
    bool covered = true;
    for (const User& user : users) {
      if (weight_of(user) > 0.0 && covered) covered = cover(user, users.size(), capacity, left);
    }
    for (const User& user : users) weight_of(user) = 0.0;
    return covered;
  }

 private:
  std::span<const User> users_of(std::int32_t resource) const {
    return table_.of(static_cast<size_t>(all_.resources()[static_cast<size_t>(resource)].link));
  }
  double& weight_of(const User& user) { return weight_left_[static_cast<size_t>(user.communication)]; }

  /// Takes the best of a user's resources that `left` of the capacity allows and who else it covers.
  bool cover(const User& user, size_t most_users, double capacity, double& left) {
    const ResourceShare* best = nullptr;
    double best_cost = 0.0, best_worth = 0.0;
    for (const ResourceShare& share : all_.shares_of(user.communication)) {
      const double factor = weight_of(user) / share.weight;
      const double cost = factor * all_.resources()[static_cast<size_t>(share.resource)].capacity;
      // One alone has too few users, so it may not cost all.
      if (cost > left || cost >= capacity || users_of(share.resource).size() >= most_users) continue;
      double worth = 0.0;
      for_each_covered(share.resource, factor, [&worth](double& weight) { worth += weight; });
      if (best != nullptr && worth * best_cost <= best_worth * cost) continue;
      best = &share;
      best_cost = cost;
      best_worth = worth;
    }
    if (best == nullptr) return false;
    left -= best_cost;
    for_each_covered(best->resource, weight_of(user) / best->weight, [](double& weight) { weight = 0.0; });
    return true;
  }

  template <typename Visit>
  void for_each_covered(std::int32_t resource, double factor, const Visit& visit) {
    const auto users = users_of(resource);
    for (const User& user : users) {
      double& weight = weight_of(user);
      if (weight > 0.0 && weight <= factor * (user.weight / users[0].weight) * (1.0 + kRounding))
        visit(weight);
    }
  }

  const SharedResources& all_;
  const LinkUsers& table_;
  std::vector<double>
      weight_left_;  // by communication: in the resource asked for, of users not covered; else 0
};

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

  ImpliedResources search(*this, table, footprints.size());
  std::vector<bool> implied;
  for (size_t i = 0; i < resources_.size(); ++i)
    implied.push_back(search.implied(static_cast<std::int32_t>(i)));
  for (size_t i = 0; i < footprints.size(); ++i) {
    const auto begin = shares_.begin() + static_cast<std::ptrdiff_t>(shares_begin_[i]);
    const auto end = shares_.begin() + static_cast<std::ptrdiff_t>(shares_begin_[i + 1]);
    const auto others = std::stable_partition(begin, end, [&](const ResourceShare& share) {
      return !implied[static_cast<size_t>(share.resource)];
    });
    binding_shares_.push_back(static_cast<std::uint32_t>(others - begin));
  }
}

}  // namespace orrery
