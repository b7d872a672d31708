"""Exercises of chapter 1: the cave."""

import math
from fractions import Fraction

import numpy as np

from .judge import Exercise, Slip
from .truths_01 import (
    cone_among,
    each_alone,
    evenings,
    furry_counted,
    is_sphere,
    least_surprise,
    made_one,
    most_useful,
    one_by_one,
    points,
    spreads_in_percent,
    wall_77,
    world,
)

EXERCISES = (
    Exercise(
        "1.1",
        "by hand",
        3,
        checks="both probabilities, to three digits",
        right=furry_counted,
        slips={
            "inverse fallacy": Slip(
                [Fraction(11, 24), Fraction(1, 2)],
                "The second number is the probability of the word given the kitten, the inverse fallacy. Asked for is "
                "the probability of the kitten given the word.",
                "the twins of (1.3)",
            ),
            "base rates forgotten": Slip(
                [Fraction(11, 24), Fraction(2, 7)],
                "The second number forgets the base rates: it compares the three as if they were equally frequent. "
                "They are not.",
                "(1.3)",
            ),
            "base rates forgotten twice": Slip(
                [Fraction(7, 12), Fraction(2, 7)],
                "Both numbers take the three things to be equally frequent. The statement says how frequent each is.",
                "(1.3)",
            ),
            "not normalised": Slip(
                [Fraction(11, 24), Fraction(1, 6)],
                "The second number is the probability of kitten and word together. It still has to be divided.",
                "(1.3)",
            ),
            "the other word": Slip(
                [Fraction(13, 24), Fraction(4, 13)],
                "These are the numbers for the other word, four-legged. Read the last line of the question again.",
                "Section 5",
            ),
        },
        hints=(
            "Let there be 24 things, and write a word on the card of each.",
            "12 puppies, 8 kittens, 4 balls of wool: how many cards of each say furry?",
            "The evidence is the share of all cards; for the posterior, cover those that do not say furry.",
        ),
        solution="Of 24 cards, 12 are puppies, 8 kittens and 4 wool. Furry stands on $12 \\cdot \\frac14 = 3$ of the "
        "puppies, on 4 of the kittens and on all 4 of the wool, so $p(\\text{furry}) = \\frac{11}{24}$. Of these 11 "
        "cards, 4 are kittens: $p(\\text{kitten} \\mid \\text{furry}) = \\frac{4}{11}$. A kitten was one thing in "
        "three before the word; the word makes it a little more probable.",
        tol=2e-3,
    ),
    Exercise(
        "1.2",
        "read off",
        2,
        checks="one posterior, read off the cards to three digits",
        right=lambda: cone_among("disc", "triangle"),
        slips={
            "prior": Slip(
                Fraction(1, 6),
                "That is the share of the cones among all cards. Some cards have to be covered first.",
                "Section 5",
            ),
            "inverse fallacy": Slip(
                1.0,
                "It is certain that a cone casts no square. But asked for is the other direction, so this is the "
                "inverse fallacy.",
                "the twins of (1.3)",
            ),
            "posteriors averaged": Slip(
                lambda: (cone_among("disc") + cone_among("triangle")) / 2,
                "This is the plain mean of two posteriors. One of the two words comes more often than the other.",
                "Section 5",
            ),
            "posteriors added": Slip(
                lambda: cone_among("disc") + cone_among("triangle"),
                "This adds two posteriors. Each was divided by an evidence of its own, so their sum means nothing.",
                "Section 5",
            ),
            "the wrong word covered": Slip(
                lambda: cone_among("square", "triangle"),
                "Here the discs were covered. The prisoners know that it was no square.",
                "the figure of the 24 cards",
            ),
        },
        hints=(
            "Cover all cards that show a square. How many are left?",
            "The figure says beside the cards how many show each word.",
            "How many of the cones' cards are still open?",
        ),
        solution="Ten cards show a square. Of the 14 that are left, 4 are cones (no cone ever casts a square): "
        "$\\frac{4}{14} = \\frac27$. By weights: $\\frac{10}{14} \\cdot \\frac15 + \\frac{4}{14} \\cdot \\frac12$, "
        "the posteriors of the two words, each as often as its word.",
        tol=2e-3,
    ),
    Exercise(
        "1.3",
        "program",
        6,
        checks="the posterior of five kinds after two to four words, in 20 drawn worlds",
        right=one_by_one,
        slips={
            "the prior counted each evening": Slip(
                lambda prior, likelihood, words: made_one(each_alone(prior, likelihood, words).prod(0)),
                "This multiplies the posteriors of single evenings. The prior is in each of them, so it is counted as "
                "often as there are evenings.",
                "(1.3)",
            ),
            "posteriors averaged": Slip(
                lambda prior, likelihood, words: each_alone(prior, likelihood, words).mean(0),
                "This averages the posteriors of single evenings. Two weak signs of the same thing would then be no "
                "more than one.",
                "(1.3)",
            ),
            "base rates forgotten": Slip(
                lambda prior, likelihood, words: made_one(likelihood[:, words].prod(1)),
                "The base rates are forgotten: the first evening has a prior, too.",
                "(1.3)",
            ),
            "not normalised": Slip(
                lambda prior, likelihood, words: prior * likelihood[:, words].prod(1),
                "This does not add up to one over the kinds. It is the joint probability of a kind and all the words.",
                "(1.3)",
            ),
            "only the last evening": Slip(
                lambda prior, likelihood, words: one_by_one(prior, likelihood, words[-1:]),
                "Only the last word is used. What had been learned before is thrown away.",
                "(1.3)",
            ),
            "words added": Slip(
                lambda prior, likelihood, words: made_one(prior * likelihood[:, words].sum(1)),
                "The probabilities of the words are added: that is the first word or the second. Both were seen.",
                "(1.2)",
            ),
        },
        hints=(
            "What is the prior of the second evening?",
            "Given the solid, the tosses are independent: what does that say of the probability of all words together?",
            "Multiply the prior by the likelihood of each word in turn; divide by the sum over the kinds.",
        ),
        solution="Given $z$ the evenings are independent, so $p(z \\mid x_1, \\dots, x_n) = \\frac{p(z) \\prod_i "
        "p(x_i \\mid z)}{\\sum_{z'} p(z') \\prod_i p(x_i \\mid z')}$. The posterior of one evening is the prior of "
        "the next; the order does not matter.\n\n```python\nw = prior * likelihood[:, words].prod(1)\nreturn w / "
        "w.sum()\n```\n\nIn the tiny cave a second disc raises the sphere from $\\frac15$ to $\\frac13$, and after "
        "$n$ discs it is $\\frac{2^n}{2^n + 8}$. One triangle, and it is a cone for sure: only cones cast both discs "
        "and triangles.",
        takes=("prior", "likelihood", "words"),
        draw=evenings,
    ),
    Exercise(
        "1.4",
        "spot the bug",
        5,
        checks="the posteriors of five kinds for all three words, in 20 drawn worlds",
        right=lambda prior, likelihood: np.stack([one_by_one(prior, likelihood, [x]) for x in range(3)], axis=1),
        slips={
            "the line of the question": Slip(
                lambda prior, likelihood: likelihood,
                "This is the line as it stands. What it gives is the likelihood once more: the prior is multiplied "
                "in, and divided out again.",
                "the twins of (1.3)",
            ),
            "base rates forgotten": Slip(
                lambda prior, likelihood: likelihood / likelihood.sum(0),
                "The axis is right, but the base rates are forgotten. A rare kind gets as much as a frequent one.",
                "(1.3)",
            ),
            "not normalised": Slip(
                lambda prior, likelihood: prior[:, None] * likelihood,
                "This is the joint distribution. The whole table adds up to one, but each column should.",
                "(1.3)",
            ),
            "the prior divided out": Slip(
                lambda prior, likelihood: likelihood / (prior[:, None] * likelihood).sum(0),
                "Above the line the prior is missing, below it is there. The columns do not add up to one.",
                "(1.3)",
            ),
            "transposed": Slip(
                lambda prior, likelihood: made_one(prior[:, None] * likelihood).T,
                "The numbers are right and the table is transposed. A row for each kind is asked for.",
                "the table of Section 5",
            ),
        },
        hints=(
            "Print the sums of the rows and of the columns. Which of them should be 1?",
            "What is the joint, summed over the words?",
            "The evidence is one number for each word: which axis does it sum over?",
        ),
        solution="`joint.sum(1)` sums over the words and gives the prior, so that the quotient is $p(z)\\, p(x \\mid "
        "z) / p(z) = p(x \\mid z)$: the printed numbers are the inverse fallacy, made by an axis. The evidence sums "
        "over the kinds: `joint / joint.sum(0)`. For the disc that gives $\\frac15, \\frac35, \\frac15$ instead of "
        "$1, \\frac12, \\frac12$. A test that would have found it: each column adds up to one.",
        takes=("prior", "likelihood"),
        draw=world,
    ),
    Exercise(
        "1.5",
        "derive",
        8,
        checks="the least average surprise for 20 drawn accuracies and numbers of kinds, against a search for it",
        right=least_surprise,
        slips={
            "not shared out": Slip(
                lambda a, K: -a * math.log(a) - (1 - a) * math.log(1 - a),
                "This leaves the doubt in one piece. It has to be shared among the other kinds, and only one of them "
                "is the true one.",
                "Section 6",
            ),
            "shared by too many": Slip(
                lambda a, K: -a * math.log(a) - (1 - a) * math.log((1 - a) / K),
                "Count the kinds that are left beside the favourite: the doubt is shared among one too many.",
                "Section 6",
            ),
            "the doubt itself": Slip(
                lambda a, K: 1 - a,
                "This is the best doubt, and it is right. Asked for is what the encoder then pays.",
                "Section 6",
            ),
            "bits": Slip(
                lambda a, K: least_surprise(a, K) / math.log(2),
                "This is measured in bits. The bill is in nats, with the natural logarithm.",
                "Section 6",
            ),
            "sign": Slip(
                lambda a, K: -least_surprise(a, K),
                "A surprise is never negative: the logarithm of a probability is, and stands with a minus sign.",
                "Section 6",
            ),
            "no doubt where it is right": Slip(
                lambda a, K: -(1 - a) * math.log((1 - a) / (K - 1)),
                "This pays only on the evenings on which the favourite was wrong. The doubt costs something on the "
                "others, too.",
                "Section 6",
            ),
        },
        hints=(
            "How often is the favourite right, and what does the encoder pay then? And otherwise?",
            "The average is a function of delta alone; set its derivative to zero.",
            "The best doubt is the share of the evenings on which the favourite is wrong. Put it in.",
        ),
        solution="On average it pays $-a \\log(1 - \\delta) - (1 - a) \\log \\frac{\\delta}{K - 1}$. The derivative "
        "$\\frac{a}{1 - \\delta} - \\frac{1 - a}{\\delta}$ vanishes at $\\delta = 1 - a$: doubt as often as you err. "
        "Then it pays $-a \\log a - (1 - a) \\log \\frac{1 - a}{K - 1}$. In the tiny cave, $a = \\frac{7}{12}$ and $K "
        "= 5$: 1.26 nats with $\\delta = \\frac{5}{12}$, and 0.35 more than $H(Z \\mid X) = 0.91$. Nobody pays less "
        "than $H(Z \\mid X)$, so the formula is an upper bound of it: this is Fano's inequality.",
        takes=("a", "K"),
        draw=points,
    ),
    Exercise(
        "1.6",
        "predict",
        3,
        checks="your prediction, against the median of the useful draws on 100 walls",
        right=most_useful,
        slips={
            "clear": Slip(
                "a",
                "Clear air tells more about the cause, and that is just why a random guess is less likely to fit. A "
                "useful draw is one that fits about as well as the best.",
                "Section 3 of notebook 01b",
            ),
            "as in the chapter": Slip(
                "b",
                "There is nothing special about the smoke of the chapter. Ask in which air a rough guess is forgiven.",
                "Section 3 of notebook 01b",
            ),
            "the same": Slip(
                "d",
                "The guesses are the same, but their weights are not: they come from the likelihood, and the smoke is "
                "in it.",
                "(D1.5) and (D1.6)",
            ),
        },
        hints=(
            "What does one wrong pixel cost, in nats, in each of the three?",
            "With little smoke a pixel that does not fit is nearly impossible. How many guesses have none of these?",
            "Few useful draws: one guess has nearly all the weight. When are the weights most nearly equal?",
        ),
        solution="In the thick smoke. A pixel that does not fit costs $\\log \\frac{1 - \\alpha}{\\alpha}$ nats more "
        "than one that does: 3.9 for $\\alpha = 0.02$, 2.2 for 0.1, 0.8 for 0.3. With 3,000 guesses and six latents "
        "hidden, the useful draws are two and five for the first two and about sixty for the last. The clear picture "
        "says more, so its posterior is narrower, and a draw from the prior seldom falls into it. Brute force is the "
        "better the less there is to learn.",
        choices={
            "a": "in the clear air",
            "b": "in the smoke of the chapter",
            "c": "in the thick smoke",
            "d": "it makes no difference: the guesses are the same",
        },
    ),
    Exercise(
        "1.7",
        "project",
        20,
        checks="both spreads, in percent, to a hundredth of their size",
        right=lambda: spreads_in_percent(wall_77(), is_sphere),
        slips={
            "unweighted": Slip(
                lambda: spreads_in_percent(0 * wall_77(), is_sphere),
                "These are the spreads of the prior: no weights were used, so the wall was not looked at.",
                "(D1.5)",
            ),
            "all kinds": Slip(
                lambda: spreads_in_percent(wall_77(), lambda kind: kind >= 0),
                "All kinds are in it. Size means something else for a cube than for a sphere; take the spheres.",
                "(D1.5)",
            ),
            "the depth": Slip(
                lambda: spreads_in_percent(wall_77(), is_sphere, lambda size, depth: depth),
                "The second number is the spread of the depth alone. Asked for is that of the quotient.",
                "(1.1)",
            ),
            "the product": Slip(
                lambda: spreads_in_percent(wall_77(), is_sphere, lambda size, depth: size * depth),
                "The second number is the spread of the product. Along a line of causes it does not stay the same.",
                "(1.1)",
            ),
            "not in percent": Slip(
                lambda: np.divide(spreads_in_percent(wall_77(), is_sphere), 100),
                "These are shares of the mean. Asked for are percent of it.",
                "the statement",
            ),
        },
        hints=(
            "Work out (D1.6) for all guesses; softmax over the spheres alone gives the weights.",
            "With weights that add up to one, the mean is (w * v).sum() and the variance (w * (v - mean)**2).sum().",
            "Divide the standard deviation by the mean and multiply by 100; do so for size and for size / depth.",
        ),
        solution="```python\npi = 0.1 + 0.8 * cave.render(guesses).flatten(1)\nscore = pi.log() @ wall + (1 - "
        "pi).log() @ (1 - wall)\nspheres = guesses[:, 0] == 0\nw = torch.softmax(score[spheres].double(), 0)\nsize, "
        "depth = guesses[spheres][:, [1, 7]].double().T\n```\n\nThe wall leaves the size open nearly as much as the "
        "prior does (8.4 percent before, 6.0 after), and likewise the depth. Their quotient it fixes to 2.3 percent, "
        "from 10.9. That is (1.1): along a line through the fire nothing changes on the wall, so the posterior is a "
        "narrow ridge along this line.",
        tol=1e-2,
    ),
)
