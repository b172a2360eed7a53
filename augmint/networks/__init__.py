"""Networks: generators, critics, classifiers and mappers, each described by a frozen dataclass.

The axis is `architectures` (`augmint.core.registry.ARCHITECTURES`); its base is `base.Architecture`
with one subclass a role (`GeneratorArchitecture`, `CriticArchitecture`, `ClassifierArchitecture`,
which predicts numbers too, `MapperArchitecture`, which answers with maps).

Members: `dcgan` (dcgan-generator, dcgan-critic, 8 to 256 px), `resnet`, `stylegan2` and `began` (a
generator and a critic each), `vac` (the MNIST, CIFAR-10 and binary networks of VAC+GAN), `mlp` (the
first conditional GAN's dense and maxout layers), `classifiers` (small-cnn, fer-simple,
fer-surreal), `regressors` (var-regressor, integral-regressor), `unet` and `segnet` (segnet,
segnet-basic), the mappers, `biggan` (its generator; the critic is resnet-critic's plan "biggan"),
`flow` (flow-unet) and `vae`, which learn without a critic. Shared parts: `blocks` (upsampling,
normalisation, initialisation), `stochastic` (noise, minibatch discrimination and deviation), `maps`
(condition maps) and `sizes` (which image sizes fit, and the error that names the nearest ones).

To add one: a frozen dataclass in a new module here, decorated with
`@ARCHITECTURES.register("kebab-name")`, whose fields are its sizes, whose `check_shape` refuses
what it cannot reach and whose `build` returns the module. Weights are drawn from torch's global
generator; the caller opens `streams.scope`. The conformance tests find it by themselves.
"""
