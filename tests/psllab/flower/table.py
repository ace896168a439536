"""A grid without a network."""

from flwr.app import Context, Error, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from psllab import flower


class Table:
    """A grid that hands every message to the client app in this process; ``configs`` are those of the nodes."""

    def __init__(self, run_config, configs, altered=None):
        self._run, self._configs, self.altered = run_config, configs, altered
        TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1  # as Flower's processes do at first

    def get_node_ids(self):
        return list(self._configs)

    def push_messages(self, messages):
        self._sent = {str(place): message for place, message in enumerate(messages)}
        return list(self._sent)

    def pull_messages(self, names):
        for message in (self._sent.pop(name) for name in names if name in self._sent):
            node = message.metadata.dst_node_id
            context = Context(
                run_id=1, node_id=node, node_config=self._configs[node], state=RecordDict(), run_config=self._run
            )
            try:
                reply = flower.client(message, context)
            except Exception as error:
                reply = Message(Error(0, str(error)), reply_to=message)
            yield self.altered(node, reply) if self.altered else reply
