# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Measure a die
#
# How often does a die show six?

# %% [markdown]
# | | |
# | --- | --- |
# | **Objectives** | You will predict, measure and explain a share |
# | **Prerequisites** | none |
# | **Time** | 5 minutes |
# | **Cost** | local USD 0; real account USD 0 |
# | **Last ran on a real account** | never |

# %% [markdown]
# ## Set up

# %% tags=["parameters"]
target = "local"

# %%
import os
import random

from stub_cloud import connect

# %%
lab = connect(target, lab="start/01_small")

# %% [markdown]
# ## Why it matters
#
# A share is the smallest measurement there is.

# %% [markdown]
# **Predict first.** One line.

# %%
# BEGIN SOLUTION: your guess, a number from 0 to 1
guess = 1 / 6
# END SOLUTION

# %% [markdown]
# The checkpoint: what follows does not need your answer.

# %%
rolls = [random.Random(seed).randint(1, 6) for seed in range(600)]

# %% [markdown]
# ## Measure

# %%
share = sum(roll == 6 for roll in rolls) / len(rolls)
print(f"share of sixes: {share:.3f}")

# %% [markdown]
# ## Read the result
#
# Write a function that gives the share of any face.


# %%
# BEGIN SOLUTION
def share_of(face: int) -> float:
    """The share of `face` among the rolls, from 0 to 1."""
    return sum(roll == face for roll in rolls) / len(rolls)


# END SOLUTION

# %% [markdown] tags=["solution"]
# Each face has about the same share.

# %% tags=["solution"]
print([round(share_of(face), 2) for face in range(1, 7)])

# %% [markdown]
# ## Spend so far

# %%
lab.spend()

# %% [markdown]
# ## Clean up

# %%
lab.cleanup()
assert not lab.leftovers()

# %% [markdown]
# ## What you learned
#
# A share needs a guess first. **Further reading**: any book on probability.

# %%
print(os.environ.get("LAB_TENANT_NAME", "no tenant"), target)
