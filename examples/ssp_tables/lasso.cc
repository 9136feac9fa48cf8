// Lasso by parallel coordinate descent: min |y - X w|^2 / 2 + lambda |w|_1.  A
// worker keeps the coefficients of its own features; what all of them predict,
// X w, is the table (fit:8x64, one row for 64 samples).
#include <algorithm>
#include <cmath>
#include <vector>

#include "common/base/status_macros.h"
#include "examples/ssp_tables/app.h"

namespace cssp::examples {
namespace {

constexpr int kRows = 8;
constexpr int kWidth = 64;
constexpr int kSamples = kRows * kWidth;
constexpr int kFeatures = 4000;
constexpr int kTrue = 40;       // features that matter
constexpr int kAClock = 24;     // coordinates that a worker moves in a clock
constexpr double kLambda = 0.05;
constexpr uint64_t kSeed = 1996;

// Column j of X, of unit length.
std::vector<float> Column(int feature) {
  std::mt19937_64 random = Random(kSeed, 10 + feature);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> column(kSamples);
  double squares = 0;
  for (float& each : column) {
    each = normal(random);
    squares += each * each;
  }
  for (float& each : column) each /= static_cast<float>(std::sqrt(squares));
  return column;
}

// Every kFeatures / kTrue-th feature matters.
std::vector<float> Target() {
  std::mt19937_64 random = Random(kSeed, 1);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> target(kSamples);
  for (float& each : target) each = 0.01f * normal(random);
  for (int i = 0; i < kTrue; ++i) {
    const float weight = normal(random) + (i % 2 == 0 ? 1.0f : -1.0f);
    const std::vector<float> column = Column(i * (kFeatures / kTrue));
    for (int n = 0; n < kSamples; ++n) target[n] += weight * column[n];
  }
  return target;
}

double Shrink(double value) {
  return std::copysign(std::max(std::fabs(value) - kLambda, 0.0), value);
}

absl::Status Run(App& app) {
  TableSession& tables = app.tables();
  ASSIGN_OR_RETURN(const int table, tables.FindTable("fit"));
  const std::vector<float> target = Target();
  std::vector<std::vector<float>> columns;
  for (int j = app.rank(); j < kFeatures; j += app.workers()) {
    columns.push_back(Column(j));
  }
  std::vector<double> weights(columns.size());
  std::vector<int64_t> rows(kRows);
  for (int i = 0; i < kRows; ++i) rows[i] = i;
  std::vector<float> fit(kSamples), delta(kSamples);
  std::mt19937_64 random = Random(kSeed, 2 + uint64_t(app.rank()) * 1000000);
  for (int64_t clock = 0; clock < app.clocks(); ++clock) {
    app.BeginClock();
    RETURN_IF_ERROR(tables.BatchGet(table, rows, absl::MakeSpan(fit)));
    app.BeginCompute();
    double objective = 0;
    for (int n = 0; n < kSamples; ++n) {
      objective += 0.5 * (target[n] - fit[n]) * (target[n] - fit[n]);
    }
    objective /= app.workers();  // each sees all of it
    for (double weight : weights) objective += kLambda * std::fabs(weight);
    std::fill(delta.begin(), delta.end(), 0.0f);
    for (int step = 0; step < kAClock; ++step) {
      const size_t j = random() % columns.size();
      double slope = 0;
      for (int n = 0; n < kSamples; ++n) {
        slope += columns[j][n] * (target[n] - fit[n]);
      }
      const double change = Shrink(weights[j] + slope) - weights[j];
      if (change == 0) continue;
      weights[j] += change;
      for (int n = 0; n < kSamples; ++n) {
        const float moved = static_cast<float>(change) * columns[j][n];
        fit[n] += moved;
        delta[n] += moved;
      }
    }
    RETURN_IF_ERROR(tables.BatchInc(table, rows, delta));
    RETURN_IF_ERROR(app.EndClock(objective));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace cssp::examples

int main(int argc, char** argv) {
  return cssp::examples::App::Main(argc, argv, cssp::examples::Run);
}
