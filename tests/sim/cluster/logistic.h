// SGD on logistic regression by logical workers in virtual time, held against
// Theorem 1 of Ho et al. (NIPS 2013).
#ifndef CSSP_TESTS_SIM_CLUSTER_LOGISTIC_H_
#define CSSP_TESTS_SIM_CLUSTER_LOGISTIC_H_

#include <cstdint>
#include <string>

namespace cssp {

struct RegretConfig {
  int workers = 2;
  int staleness = 0;
  bool per_push = false;
  int64_t clocks = 100;
  uint64_t seed = 1;
};

struct Regret {
  std::string failure;  // of the contract, or of the theorem's conditions
  double regret = 0;    // (1/T) sum f_t(x~_t) - f(x*)
  double bound = 0;     // 4 F L sqrt(2 (s + 1) P / T)
};

// f_t is the logistic loss of one record; worker p's clock c is one update, so
// T = P * clocks.  Steps are sigma / sqrt(t), sigma = F / (L sqrt(2 (s + 1) P)),
// L = 1 (records have norm 1).  F belongs to the ball around 0 of twice the
// norm of x*, in which every read must lie.  One worker in turn is slow.
Regret MeasureRegret(const RegretConfig& config);

}  // namespace cssp

#endif  // CSSP_TESTS_SIM_CLUSTER_LOGISTIC_H_
