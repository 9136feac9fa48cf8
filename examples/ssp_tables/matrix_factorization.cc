// Matrix factorisation by SGD (Ho et al., NIPS 2013, section 5): ratings of a
// low-rank matrix with noise; a worker keeps the factors of its own users, the
// items' factors are a table (items:600x8).
#include <vector>

#include "common/base/status_macros.h"
#include "examples/ssp_tables/app.h"

namespace cssp::examples {
namespace {

constexpr int kUsers = 600;
constexpr int kItems = 600;
constexpr int kRank = 8;
constexpr double kShown = 0.1;  // of all ratings
constexpr float kNoise = 0.1f;
constexpr float kRate = 0.05f;
constexpr float kDecay = 0.01f;
constexpr uint64_t kSeed = 2013;

struct Rating {
  int user;
  int item;
  float value;
};

std::vector<float> Factors(int count, uint64_t stream, float scale) {
  std::mt19937_64 random = Random(kSeed, stream);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> factors(size_t{kRank} * count);
  for (float& each : factors) each = normal(random);
  return factors;
}

float Dot(const float* a, const float* b) {
  float sum = 0;
  for (int k = 0; k < kRank; ++k) sum += a[k] * b[k];
  return sum;
}

// Of the users rank, rank + workers, ...: everybody draws everything.
std::vector<Rating> OwnRatings(int rank, int workers) {
  const std::vector<float> users = Factors(kUsers, 1, 0.6f);
  const std::vector<float> items = Factors(kItems, 2, 0.6f);
  std::mt19937_64 random = Random(kSeed, 3);
  std::uniform_real_distribution<double> uniform;
  std::normal_distribution<float> noise(0, kNoise);
  std::vector<Rating> ratings;
  for (int user = 0; user < kUsers; ++user) {
    for (int item = 0; item < kItems; ++item) {
      if (uniform(random) >= kShown) continue;
      const float value =
          Dot(&users[user * kRank], &items[item * kRank]) + noise(random);
      if (user % workers == rank) ratings.push_back({user, item, value});
    }
  }
  return ratings;
}

absl::Status Run(App& app) {
  TableSession& tables = app.tables();
  ASSIGN_OR_RETURN(const int table, tables.FindTable("items"));
  const std::vector<Rating> ratings = OwnRatings(app.rank(), app.workers());
  std::vector<float> users = Factors(kUsers, 4, 0.3f);
  std::vector<int64_t> rows(kItems);
  for (int i = 0; i < kItems; ++i) rows[i] = i;
  std::vector<float> items(size_t{kItems} * kRank), deltas(items.size());
  for (int64_t clock = 0; clock < app.clocks(); ++clock) {
    app.BeginClock();
    RETURN_IF_ERROR(tables.BatchGet(table, rows, absl::MakeSpan(items)));
    app.BeginCompute();
    std::fill(deltas.begin(), deltas.end(), 0.0f);
    double squares = 0;
    for (const Rating& rating : ratings) {
      float* u = &users[rating.user * kRank];
      float* v = &items[rating.item * kRank];
      float* dv = &deltas[rating.item * kRank];
      const float error = rating.value - Dot(u, v);
      squares += error * error;
      for (int k = 0; k < kRank; ++k) {
        const float du = kRate * (error * v[k] - kDecay * u[k]);
        const float change = kRate * (error * u[k] - kDecay * v[k]);
        u[k] += du;
        v[k] += change;
        dv[k] += change;
      }
    }
    RETURN_IF_ERROR(tables.BatchInc(table, rows, deltas));
    RETURN_IF_ERROR(app.EndClock(squares));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace cssp::examples

int main(int argc, char** argv) {
  return cssp::examples::App::Main(argc, argv, cssp::examples::Run);
}
